"""What a config's values become under flags, as a launch script would read them."""

import sys
from collections.abc import Sequence
from typing import Any
from unittest import mock

from absl import flags
from ml_collections import config_flags


def config_values(path: Any, words: Sequence[str]) -> dict[str, Any]:
    """The values of the config file `path`, which may end in ":argument", under flags such as --config.seed=3."""
    known, argv = flags.FlagValues(), ["launch", f"--config={path}", *words]
    # The flags of a config are looked up in the arguments of the program.
    with mock.patch.object(sys, "argv", argv):
        holder = config_flags.DEFINE_config_file("config", flag_values=known)
        known(argv)
    return holder.value.to_dict()
