//! The XDP programs and the types they share with user space.
