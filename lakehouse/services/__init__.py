"""The processes that `lakehouse up` starts, and the supervisor that watches them."""
