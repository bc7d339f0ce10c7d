"""Which values hold a kernel's registers, estimated from the compiler's own GPU IR."""
