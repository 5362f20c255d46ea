//! Frames of links on a loop.

use std::io;

use super::EventLoop;
use crate::backend::Backend;
use crate::core::message::{MessageSocket, MessageWire};
use crate::driver::{ForFrames, Messages};
use crate::id::{DatagramId, ServiceHandle};
use crate::options::{FrameOptions, StreamOptions};
use crate::service::FrameService;

impl<B: Backend> EventLoop<B> {
    /// Adds a service for packet sockets that carry frames of a link.
    ///
    /// # Panics
    /// Beyond 65,534 services on one loop.
    pub fn add_frame_service<S: FrameService>(&mut self, service: S) -> ServiceHandle<S> {
        let driver = Box::new(Messages(ForFrames(service)));
        ServiceHandle::new(self.core.add_streams(driver, StreamOptions::default(), None))
    }

    /// Opens a packet socket for a service: frames of an interface, or of all.
    ///
    /// # Errors
    /// Why there is none: `PermissionDenied` names the capability; `Unsupported` without the feature `link`.
    pub fn open_link<S: FrameService>(
        &mut self,
        service: ServiceHandle<S>,
        options: &FrameOptions,
    ) -> io::Result<DatagramId> {
        self.between_turns();
        let io = self.core.inner.backend.open_link(options)?;
        let socket = MessageSocket::new(MessageWire::Packet(io), options.max_queue);
        self.core.add_socket(socket, service.index).map(DatagramId)
    }
}
