//! As much of WebSocket as a client with thousands of sockets needs.

use anyhow::bail;

pub(crate) const TEXT: u8 = 1;
pub(crate) const CLOSE: u8 = 8;
pub(crate) const PING: u8 = 9;
pub(crate) const PONG: u8 = 10;

/// A frame of a server.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'b> {
    pub(crate) opcode: u8,
    pub(crate) payload: &'b [u8],
    /// Where the next one begins.
    pub(crate) end: usize,
}

/// The frame at the beginning of these bytes; nothing when more has to come.
pub(crate) fn frame(bytes: &[u8]) -> anyhow::Result<Option<Frame<'_>>> {
    let [first, second, rest @ ..] = bytes else { return Ok(None) };
    if first & 0xf0 != 0x80 || second & 0x80 != 0 {
        bail!("a frame that is in parts, reserved or masked: {first:#x} {second:#x}");
    }
    let (length, head) = match second {
        126 => match rest {
            [a, b, ..] => (u64::from(u16::from_be_bytes([*a, *b])), 4),
            _ => return Ok(None),
        },
        127 => match rest.first_chunk::<8>() {
            Some(bytes) => (u64::from_be_bytes(*bytes), 10),
            None => return Ok(None),
        },
        length => (u64::from(*length), 2),
    };
    let end = head + usize::try_from(length)?;
    Ok(bytes.get(head..end).map(|payload| Frame { opcode: first & 0x0f, payload, end }))
}

/// A frame of a client of at most 125 bytes; its mask is zero, which changes nothing.
pub(crate) fn masked(opcode: u8, payload: &[u8]) -> Vec<u8> {
    assert!(payload.len() <= 125, "no frame of this client is longer");
    let mut frame = vec![0x80 | opcode, 0x80 | payload.len() as u8, 0, 0, 0, 0];
    frame.extend_from_slice(payload);
    frame
}

/// What asks for a socket.
pub(crate) fn handshake(host: &str, target: &str, token: &str) -> Vec<u8> {
    format!(
        "GET {target} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\nconnection: upgrade\r\n\
         upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    .into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_ends_where_its_length_says() {
        for length in [0_usize, 1, 125, 126, 300, 65_535, 65_536] {
            let mut bytes = vec![0x81];
            match length {
                0..=125 => bytes.push(length as u8),
                126..=65_535 => bytes.extend([&[126][..], &(length as u16).to_be_bytes()].concat()),
                _ => bytes.extend([&[127][..], &(length as u64).to_be_bytes()].concat()),
            }
            bytes.extend(std::iter::repeat_n(b'x', length));
            assert_eq!(frame(&bytes[..bytes.len() - 1]).unwrap(), None, "{length}");
            let end = bytes.len();
            bytes.extend(b"next");
            let found = frame(&bytes).unwrap().unwrap();
            assert_eq!((found.opcode, found.payload.len(), found.end), (TEXT, length, end));
        }
        assert!(frame(&masked(TEXT, b"a client's")).is_err());
        assert!(frame(&[0x01, 0]).is_err());
    }
}
