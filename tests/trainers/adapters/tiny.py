"""A model that is small enough for any machine and knows nothing; for the scripts that run in TRL's Python.

tiny.py FOLDER: saves it there, with its tokenizer.
"""

import sys
from pathlib import Path

import trl
from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerFast, Qwen3Config, Qwen3ForCausalLM


def tokenizer():
    """One token for each byte, and the chat template of Qwen 3."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytewise = Tokenizer(models.BPE(vocab={one: i for i, one in enumerate(alphabet)}, merges=[]))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bytewise.decoder = decoders.ByteLevel()
    made = PreTrainedTokenizerFast(tokenizer_object=bytewise, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    made.add_special_tokens({"additional_special_tokens": ["<|im_start|>"]})
    made.chat_template = (Path(trl.__file__).parent / "chat_templates/qwen3.jinja").read_text()
    return made


def config(words):
    """Qwen 3 with one layer."""
    return Qwen3Config(
        vocab_size=len(words), hidden_size=16, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2,
        num_key_value_heads=1, head_dim=8, eos_token_id=words.eos_token_id, pad_token_id=words.pad_token_id,
    )  # fmt: skip


if __name__ == "__main__":
    words = tokenizer()
    words.save_pretrained(sys.argv[1])
    Qwen3ForCausalLM(config(words)).save_pretrained(sys.argv[1])
