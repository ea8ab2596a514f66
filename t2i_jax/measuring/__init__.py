"""How fast everything is on the machine at hand: what `t2i bench` calls."""
