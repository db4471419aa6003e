"""Questions of many hops, made from the facts of a corpus or read from public sets."""
