//! The body of an answer while it is sent: it ends at its deadline and when the daemon drains, it
//! keeps its place until then, and its last code is counted.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use clos_domain::Error;
use http::{HeaderMap, Response};
use http_body::{Body as _, Frame, SizeHint};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;
use tonic::body::Body;
use tracing::Span;

use super::deadline;
use super::limit;
use super::limit::Place;
use super::observe::Observer;
use crate::status::{draining, to_status};

/// A body that is watched.
pub(crate) struct Observed {
    inner: Body,
    until: Option<Pin<Box<Sleep>>>,
    drain: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    /// A newer call wants the place.
    wanted: Option<Pin<Box<WaitForCancellationFutureOwned>>>,
    observer: Observer,
    _place: Place,
    request_id: String,
    span: Span,
    has_ended: bool,
}

impl Observed {
    /// The answer, with its body watched. `drain` is for those that may go on for ever.
    pub(crate) fn around(
        response: Response<Body>,
        mut observer: Observer,
        place: Place,
        until: Option<Instant>,
        drain: Option<CancellationToken>,
        request_id: String,
    ) -> Response<Body> {
        // An error without a body has its status in the head.
        if let Some(status) = Status::from_header_map(response.headers()) {
            observer.ended(status.code());
        }
        response.map(|inner| {
            Body::new(Self {
                inner,
                until: until.map(|until| Box::pin(tokio::time::sleep_until(until))),
                drain: drain.map(|drain| Box::pin(drain.cancelled_owned())),
                wanted: place.wanted().map(|wanted| Box::pin(wanted.cancelled_owned())),
                observer,
                _place: place,
                request_id,
                span: Span::current(),
                has_ended: false,
            })
        })
    }

    fn end(&mut self, error: &Error) -> Frame<Bytes> {
        self.has_ended = true;
        let status = to_status(error, &self.request_id);
        self.observer.ended(status.code());
        let mut trailers = HeaderMap::new();
        // Our messages are percent-encoded and our details base64, which headers take.
        let _ = status.add_header(&mut trailers);
        Frame::trailers(trailers)
    }

    fn poll_until(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        // The deadline holds for a stream that always has something to say, too.
        if let Some(until) = &mut self.until
            && until.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Some(Ok(self.end(&deadline::late(None)))));
        }
        let frame = self.poll_inner(context);
        if frame.is_pending()
            && let Some(drain) = &mut self.drain
            && drain.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Some(Ok(self.end(&draining()))));
        }
        if frame.is_pending()
            && let Some(wanted) = &mut self.wanted
            && wanted.as_mut().poll(context).is_ready()
        {
            return Poll::Ready(Some(Ok(self.end(&limit::made_room()))));
        }
        frame
    }

    fn poll_inner(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let frame = Pin::new(&mut self.inner).poll_frame(context);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(trailers) = frame.trailers_ref() {
                    self.has_ended = true;
                    self.observer.ended(
                        Status::from_header_map(trailers)
                            .map_or(tonic::Code::Unknown, |status| status.code()),
                    );
                }
            }
            Poll::Ready(Some(Err(status))) => self.observer.ended(status.code()),
            Poll::Ready(None) => self.has_ended = true,
            Poll::Pending => {}
        }
        frame
    }
}

impl http_body::Body for Observed {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let this = self.get_mut();
        if this.has_ended {
            return Poll::Ready(None);
        }
        // Taken out and put back: a copy is counted by whoever keeps spans, for each of a thousand watchers.
        let span = std::mem::replace(&mut this.span, Span::none());
        let frame = span.in_scope(|| this.poll_until(context));
        this.span = span;
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.has_ended || self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
