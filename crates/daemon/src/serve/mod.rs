//! Where `closd` listens, and the signals that end it. What answers there is the
//! gateway's: one way for every connection, on the Unix socket and on TCP.

pub mod own_port;
pub mod port;
pub mod signals;
