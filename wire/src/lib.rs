//! What exchanges put on the wire: pure codecs, no I/O, no allocation while decoding.
