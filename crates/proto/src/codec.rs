//! How messages are put into bytes and read from them: as tonic does it, with buffers of the size that
//! messages have. tonic's own are 8 KiB for each direction of each call, which a thousand watches keep.

use std::marker::PhantomData;

use prost::Message;
use tonic::codec::BufferSettings;
use tonic_prost::{ProstDecoder, ProstEncoder};

/// Bytes that a call begins with; a longer message makes more room for itself.
const BEGIN: usize = 1024;
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
    T: Message + Send + 'static,
    U: Message + Default + Send + 'static,
{
    type Encode = T;
    type Decode = U;
    type Encoder = ProstEncoder<T>;
    type Decoder = ProstDecoder<U>;

    fn encoder(&mut self) -> Self::Encoder {
        ProstEncoder::new(BufferSettings::new(BEGIN, TOGETHER))
    }

    fn decoder(&mut self) -> Self::Decoder {
        ProstDecoder::new(BufferSettings::new(BEGIN, TOGETHER))
    }
}
