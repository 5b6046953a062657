//! Which container specs are admitted (security.md section 4).
