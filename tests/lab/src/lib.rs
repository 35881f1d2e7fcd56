//! A private network and private servers for tests, benches and the demo.
