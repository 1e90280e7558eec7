"""Ten paraphrases of every item's five captions, by a language model.

Question: does alignment keep rising when more captions of an item are averaged than people have written?
Cost: one request per item, about 300 tokens in and 200 out; `--dry_run` prints how many are pending.
An interrupted run resumes. Keys come from the environment: GEMINI_API_KEY or OPENAI_API_KEY.

    python -m launch.generate --config=configs/paraphrases.py --config.directory=flickr8k --dry_run
    python -m launch.generate --config=configs/paraphrases.py:openai --config.client.model=name \
        --config.client.base_url=http://localhost:8000/v1 ...
    python -m launch.generate --config=configs/paraphrases.py:local --config.client.model=Qwen/Qwen2.5-3B-Instruct ...
"""

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from configs.parts import items

CLIENTS = ("gemini", "local", "openai")


def get_config(arg: str = "") -> ConfigDict:
    """Settings; documented in `vla.stimuli.generators`. `arg` is the client, Gemini by default."""
    client = arg or "gemini"
    if client not in CLIENTS:
        raise ValueError(f"Unknown argument {arg!r}; expected one of {', '.join(CLIENTS)}.")
    config = items()
    config.kind = "paraphrases"

    config.client = ConfigDict()
    config.client.kind = client
    config.client.model = "gemini-2.5-flash" if client == "gemini" else ""
    config.client.temperature = placeholder(float)
    config.client.temperature = 1.0
    config.client.top_p = placeholder(float)
    config.client.max_output_tokens = placeholder(int)
    if client == "gemini":
        config.client.thinking_budget = placeholder(int)
        config.client.base_url = "https://generativelanguage.googleapis.com"
    if client == "openai":
        config.client.base_url = "https://api.openai.com/v1"
        config.client.send_seed = True
    if client == "local":
        config.client.top_p = 1.0
        config.client.max_output_tokens = 1024
        config.client.revision = placeholder(str)
        config.client.dtype = "bfloat16"
        config.client.device = ""
    else:
        config.client.timeout = 120.0

    config.plan = ConfigDict({"count": 10, "n_captions": 5, "template": "", "seed": 42})
    config.run = ConfigDict({"at_once": 8, "asks": 4})
    config.back_off = ConfigDict({"tries": 8, "first": 1.0, "longest": 120.0})
    return config
