"""Byte-level BPE made from captions: words of the world are few tokens, and any text can be read."""

from collections.abc import Iterable

from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

BOS, EOS, PAD = "<s>", "</s>", "<pad>"
# 256 bytes, three special tokens, and merges.
VOCABULARY = 640


def make_tokenizer(captions: Iterable[str], ends: bool = False) -> Tokenizer:
    """A tokenizer whose every text begins with BOS and, if it `ends`, ends with EOS."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)  # pyright: ignore
    tokenizer.decoder = decoders.ByteLevel()  # pyright: ignore
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[BOS, EOS, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(captions, trainer)
    special = [(token, tokenizer.token_to_id(token)) for token in (BOS, EOS)]
    end = f" {EOS}" if ends else ""
    tokenizer.post_processor = processors.TemplateProcessing(  # pyright: ignore
        single=f"{BOS} $A{end}", pair=f"{BOS} $A{end} {BOS} $B{end}", special_tokens=special
    )
    return tokenizer
