"""The local store's own matters, beyond the contract that it shares with the other stores: its file."""
