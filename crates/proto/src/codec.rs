//! How messages are put into bytes and read from them: as tonic does it, with buffers of the size that
//! messages have. tonic's own are 8 KiB for each direction of each call, which a thousand watches keep.
//!
//! What a server tells to many callers at a time it may put into bytes by itself, once for all of them:
//! the build script names the messages whose servers answer with an [`Encoded`].

use std::marker::PhantomData;

use prost::Message;
use prost::bytes::{BufMut as _, Bytes};
use tonic::Status;
use tonic::codec::{BufferSettings, EncodeBuf};
use tonic_prost::ProstDecoder;

use crate::v2;

/// Bytes that a call begins to read with; a longer message makes more room for itself.
const BEGIN: usize = 1024;
/// Bytes that a call begins to write with. A stream of events keeps them for as long as it is watched.
const BEGIN_WRITING: usize = 256;
/// Messages of a stream that are ready go out together up to so many bytes, as tonic does it.
const TOGETHER: usize = 32 << 10;

/// The codec of the generated clients and servers.
#[derive(Debug)]
pub struct Codec<T, U>(PhantomData<(T, U)>);

impl<T, U> Default for Codec<T, U> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T, U> tonic::codec::Codec for Codec<T, U>
where
    T: Encode + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = Encoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        Encoder(PhantomData)
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::new(BEGIN, TOGETHER))
    }
}

/// What goes out.
pub trait Encode {
    /// Appends the bytes.
    fn put(&self, out: &mut EncodeBuf<'_>);
}

impl<M: Message> Encode for M {
    fn put(&self, out: &mut EncodeBuf<'_>) {
        out.reserve(self.encoded_len());
        self.encode_raw(out);
    }
}

/// Puts what goes out into bytes.
#[derive(Debug)]
pub struct Encoder<T>(PhantomData<T>);

impl<T: Encode> tonic::codec::Encoder for Encoder<T> {
    type Item = T;
    type Error = Status;

    fn encode(&mut self, item: T, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item.put(out);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(BEGIN_WRITING, TOGETHER)
    }
}

/// The bytes of a message; a copy is the same bytes.
#[derive(Debug)]
pub struct Encoded<M> {
    bytes: Bytes,
    of: PhantomData<fn() -> M>,
}

/// The bytes of an event.
pub type EncodedEvent = Encoded<v2::Event>;

impl<M: Message + Default> Encoded<M> {
    /// Puts a message into bytes.
    pub fn new(message: &M) -> Self {
        Self { bytes: message.encode_to_vec().into(), of: PhantomData }
    }

    /// The message.
    pub fn message(&self) -> M {
        M::decode(self.bytes.clone()).expect("these bytes were made from such a message")
    }
}

impl<M> Clone for Encoded<M> {
    fn clone(&self) -> Self {
        Self { bytes: self.bytes.clone(), of: PhantomData }
    }
}

impl<M> Encode for Encoded<M> {
    fn put(&self, out: &mut EncodeBuf<'_>) {
        out.reserve(self.bytes.len());
        out.put_slice(&self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_that_were_made_before_are_the_message() {
        let event = v2::Event { r#type: "service.created".into(), seq: 7, ..v2::Event::default() };
        let encoded = EncodedEvent::new(&event);
        assert_eq!(encoded.bytes, event.encode_to_vec());
        assert_eq!(encoded.message(), event);
    }
}
