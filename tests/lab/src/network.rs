//! Network namespaces and veth pairs.
