"""Why two engines differ: experiments on the reference, named causes, a walk over the nodes."""
