"""Networks of cnnkit, one file per family; `networks.toml` describes each function."""
