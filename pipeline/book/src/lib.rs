//! Order books from ticks.
