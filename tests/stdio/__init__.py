"""The whole server as a host sees it: a process spoken to by the official client over its stdin and stdout."""
