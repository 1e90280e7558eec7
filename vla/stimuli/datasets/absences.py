"""What becomes of items that lack something: refused with their names, or left out because the user said so."""

from collections.abc import Sequence

from vla.records import listed

POLICIES = ("drop", "refuse")


def check_choice(setting: str, value: object, allowed: Sequence[str] = POLICIES) -> None:
    """Check that a setting has one of its values.

    Raises:
      ValueError: it has another; the message lists those allowed.
    """
    if value not in allowed:
        raise ValueError(f"{setting}={value!r}; expected one of {', '.join(sorted(allowed))}")


def refuse_absent(setting: str, policy: str, absent: Sequence[str], what: str, remedy: str) -> None:
    """Refuse a dataset some of whose items lack something, unless the user chose another policy.

    Args:
      setting: The argument by which the user chooses, such as "missing_images".
      policy: Its value.
      absent: Names of the items, none if all is well.
      what: What is wrong with them, in words that follow their number.
      remedy: What to do instead of dropping them.

    Raises:
      ValueError: there are such items and the policy is "refuse".
    """
    if absent and policy == "refuse":
        raise ValueError(
            f'{len(absent)} {what}: {listed(absent)}. {remedy}, or pass {setting}="drop" to leave them out '
            "(their ids are kept in the dataset's `dropped`)"
        )
