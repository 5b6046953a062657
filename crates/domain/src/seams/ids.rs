//! Ids and randomness, so that a test can own them.

/// Makes what must be unique.
pub trait IdSource: Send + Sync + 'static {
    /// A UUIDv7 in lower-case base32 without padding: [`UNIQUE_LEN`](crate::id::UNIQUE_LEN) characters.
    fn unique(&self) -> String;

    /// What nobody can guess: 256 random bits as letters and digits.
    fn secret(&self) -> String;
}
