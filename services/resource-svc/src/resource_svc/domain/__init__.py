"""Pure decisions about capacity: what a resource is, who may have how much of it, what comes back."""
