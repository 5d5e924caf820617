"""The direct store on real engines, over real sockets."""
