//! Messages of the contract by their descriptors, as the frames of gRPC.

use bytes::Buf;
use prost::Message;
use prost_reflect::{DynamicMessage, MessageDescriptor};
use tonic::{
    Status,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
};

/// A message on its way to a service, or why there are no more: then the service sees a broken stream, not its end.
pub(super) type Sent = Result<DynamicMessage, Status>;

/// Reads and writes the messages of one call.
#[derive(Debug, Clone)]
pub(super) struct Dynamic {
    /// What its answers are.
    pub(super) output: MessageDescriptor,
}

impl Codec for Dynamic {
    type Encode = Sent;
    type Decode = DynamicMessage;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        self.clone()
    }

    fn decoder(&mut self) -> Self {
        self.clone()
    }
}

impl Encoder for Dynamic {
    type Item = Sent;
    type Error = Status;

    fn encode(&mut self, item: Sent, frame: &mut EncodeBuf<'_>) -> Result<(), Status> {
        item?.encode(frame).map_err(|error| Status::internal(error.to_string()))
    }
}

impl Decoder for Dynamic {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, frame: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        // The service is in this process and of the same build, so this cannot fail by what a caller sends.
        let message = frame.copy_to_bytes(frame.remaining());
        let decoded = DynamicMessage::decode(self.output.clone(), message);
        decoded.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
