"""How large the linear layers of a base are: what LoRA's matrices must measure, and what they weigh."""

from .routes import BaseShape


def layer_sizes(base: BaseShape) -> dict[str, tuple[int, int]]:
    """Input and output features by a layer's own name (`q_proj`): Llama's names, and those of layers that join some."""
    hidden, between = base.hidden_size, base.intermediate_size
    heads, pairs = base.attention_heads * base.head_dim, base.key_value_heads * base.head_dim
    return {
        "q_proj": (hidden, heads),
        "k_proj": (hidden, pairs),
        "v_proj": (hidden, pairs),
        "o_proj": (heads, hidden),
        "gate_proj": (hidden, between),
        "up_proj": (hidden, between),
        "down_proj": (between, hidden),
        "qkv_proj": (hidden, heads + 2 * pairs),
        "gate_up_proj": (hidden, 2 * between),
        "c_fc": (hidden, between),
        "c_proj": (between, hidden),
    }
