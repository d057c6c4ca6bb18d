"""The same file in other people's libraries, to compare with: nothing here is ours."""

import logging
from pathlib import Path
from typing import Any

from capstone.model_file import ModelFile


def tokenizer(file: ModelFile, *, digits: bool = True) -> Any:
    """Hugging Face's tokenizers with the file's vocabulary, set up as it was trained.

    Without `digits` it is what Transformers makes of a GGUF file.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    ids = {token: number for number, token in enumerate(file.vocabulary)}
    made: Any = Tokenizer(models.BPE(vocab=ids, merges=file.merges))
    steps: list[Any] = [pre_tokenizers.ByteLevel(add_prefix_space=False)]
    if digits:
        steps.insert(0, pre_tokenizers.Digits(individual_digits=True))
    made.pre_tokenizer = pre_tokenizers.Sequence(steps)
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(t, normalized=False) for t in file.special])
    return made


def transformers_model(path: Path) -> Any:
    """Transformers' own Llama with what it reads from the file, in float32.

    from_pretrained(gguf_file=...) does the same, and requires accelerate for it.
    """
    from transformers import AutoConfig, LlamaForCausalLM
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    logging.getLogger("transformers").setLevel(logging.ERROR)
    config: Any = AutoConfig.from_pretrained(str(path.parent), gguf_file=path.name)
    model = LlamaForCausalLM(config)
    read = load_gguf_checkpoint(str(path), return_tensors=True, model_to_load=model)
    model.load_state_dict(read["tensors"], strict=False)  # the output's are tied
    return model.float().eval()
