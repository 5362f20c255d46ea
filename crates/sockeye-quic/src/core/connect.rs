//! Connections and streams that this side begins, and what else a user does with a connection.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use quinn_proto::{ConnectError, Connection, ConnectionHandle, Dir, SendDatagramError, VarInt};
use sockeye_event_loop::{ConnectFailure, ConnectFault, Context, DatagramId, PeerName, StreamServiceId};

use super::{Conn, Core, Opening, Role, Stage, place};
use crate::client::QuicConnect;
use crate::error::QuicError;
use crate::handle::PathStats;
use crate::info::{QuicId, QuicInfo};
use crate::stats::Count;
use std::rc::Rc;

/// How long an address has to answer before the next one is tried: longer than a round trip, and shorter than patience.
const ATTEMPT: Duration = Duration::from_secs(1);

/// Tells a service that a stream for it was not opened.
pub(super) fn fail(context: &mut Context<'_>, opening: &Opening, remote: SocketAddr, error: &QuicError) {
    let failure = ConnectFailure {
        tag: opening.tag,
        attempts: vec![(PeerName::Ip(remote), error.clone().into())],
        cause: ConnectFault::Failed(error.clone().into()),
    };
    // The service was there when it asked.
    let _ = context.fail_connect_for(opening.service, failure);
}

/// When an attempt has to have come to an end: soon, if there are others to be tried.
fn attempt_by(now: Instant, until: Option<Instant>, others: &VecDeque<SocketAddr>) -> Option<Instant> {
    if others.is_empty() {
        return until;
    }
    [until, Core::handshake_by(now, ATTEMPT)]
        .into_iter()
        .flatten()
        .min()
}

impl Core {
    /// Begins a connection, with the streams that the request names.
    pub(crate) fn connect(
        &mut self,
        context: &mut Context<'_>,
        request: QuicConnect,
    ) -> Result<QuicId, QuicError> {
        let now = self.now(context);
        let (mut others, name) = (request.others, request.server_name);
        // Only the first one is known to take early data.
        if request.early {
            others.clear();
        }
        let mut begun = self.begin(now, request.remote, &name);
        while begun.is_err()
            && let Some(to) = others.pop_front()
        {
            begun = self.begin(now, to, &name);
        }
        let (handle, quic, socket) = begun?;
        let until = Self::handshake_by(now, request.deadline);
        let id = self.add(handle, quic, socket, attempt_by(now, until, &others));
        let service = self.inner;
        let Some(conn) = self.conn(id) else {
            return Err(QuicError::Gone);
        };
        conn.service = service;
        conn.server_name = Some(name);
        conn.others = others;
        conn.until = until;
        if !request.keep {
            conn.closing = Some((VarInt::from_u32(0), Bytes::new()));
        }
        for (dir, service, tag) in request.streams {
            conn.waiting[place(dir)].push_back(Opening { service, tag });
        }
        if request.early && conn.quic.has_0rtt() {
            conn.early = true;
            conn.stage = Stage::Early;
        }
        self.open_waiting(context, id);
        self.mark(context, id);
        Ok(id)
    }

    /// Begins a handshake with an address.
    fn begin(
        &mut self,
        now: Instant,
        to: SocketAddr,
        name: &str,
    ) -> Result<(ConnectionHandle, Connection, DatagramId), QuicError> {
        let own = self
            .sockets
            .iter()
            .find(|socket| socket.local.is_ipv4() == to.is_ipv4());
        let socket = own.ok_or(QuicError::NoSocket)?.id;
        let Role::Client {
            config: Some(config), ..
        } = &self.role
        else {
            return Err(QuicError::NotAClient);
        };
        let config = config.clone();
        let running = self.running.as_mut().ok_or(QuicError::NoSocket)?;
        match running.endpoint.connect(now, config, to, name) {
            Ok((handle, quic)) => Ok((handle, quic, socket)),
            Err(error) => Err(match error {
                ConnectError::InvalidServerName(_) => QuicError::InvalidName,
                ConnectError::InvalidRemoteAddress(_) => QuicError::InvalidAddress,
                ConnectError::UnsupportedVersion => QuicError::VersionMismatch,
                ConnectError::CidsExhausted => QuicError::NoIds,
                _ => QuicError::NotAClient,
            }),
        }
    }

    /// An address has not answered: the handshake begins anew with the next one. `false` if there is none.
    pub(super) fn try_next(&mut self, context: &mut Context<'_>, id: QuicId) -> bool {
        let now = self.now(context);
        let Some(conn) = self.conn(id).filter(|conn| conn.stage == Stage::Handshake) else {
            return false;
        };
        let (mut others, until) = (std::mem::take(&mut conn.others), conn.until);
        let name = conn.server_name.clone().unwrap_or_default();
        while let Some(to) = others.pop_front() {
            let Ok((handle, quic, socket)) = self.begin(now, to, &name) else {
                continue;
            };
            self.drop_quic(id);
            self.name(handle, id);
            let Some(conn) = self.conn(id) else { return false };
            (conn.handle, conn.quic, conn.socket) = (handle, quic, socket);
            (conn.remote, conn.drained) = (to, false);
            conn.by = attempt_by(now, until, &others);
            conn.others = others;
            self.mark(context, id);
            return true;
        }
        false
    }

    /// Opens a stream for a service, now or once the peer lets it.
    pub(crate) fn open_stream(
        &mut self,
        context: &mut Context<'_>,
        id: QuicId,
        dir: Dir,
        service: StreamServiceId,
        tag: u64,
    ) -> Result<(), QuicError> {
        let most = self.options.max_waiting_streams;
        let conn = self.conn(id).ok_or(QuicError::Gone)?;
        if let Some(error) = &conn.lost {
            return Err(error.clone());
        }
        let queue = &mut conn.waiting[place(dir)];
        if queue.len() >= most {
            return Err(QuicError::TooManyStreams);
        }
        queue.push_back(Opening { service, tag });
        self.open_waiting(context, id);
        Ok(())
    }

    /// Opens the streams that wait, as far as the peer lets it.
    pub(super) fn open_waiting(&mut self, context: &mut Context<'_>, id: QuicId) {
        for dir in [Dir::Bi, Dir::Uni] {
            loop {
                let Some(conn) = self.conn(id) else { return };
                let own = conn.quic.side() == quinn_proto::Side::Client;
                let ready = conn.stage == Stage::Open || (conn.stage == Stage::Early && own);
                if !ready || conn.waiting[place(dir)].is_empty() {
                    break;
                }
                let Some(stream) = conn.quic.streams().open(dir) else {
                    break;
                };
                let Some(opening) = conn.waiting[place(dir)].pop_front() else {
                    break;
                };
                let remote = conn.remote;
                if let Err(error) = self.open_lane(context, id, stream, opening.service, Some(opening.tag)) {
                    fail(context, &opening, remote, &error);
                }
                self.mark(context, id);
            }
        }
    }

    /// Closes a connection: in order once its streams are over, or at once.
    pub(crate) fn close(
        &mut self,
        context: &mut Context<'_>,
        id: QuicId,
        code: VarInt,
        reason: Bytes,
        at_once: bool,
    ) -> bool {
        let Some(conn) = self.conn(id) else { return false };
        if conn.lost.is_some() {
            return false;
        }
        if at_once {
            self.close_now(context, id, code, reason, QuicError::ClosedHere);
        } else {
            conn.closing = Some((code, reason));
            self.close_if_unused(context, id);
        }
        true
    }

    /// Takes an unreliable datagram for sending.
    pub(crate) fn send_datagram(
        &mut self,
        context: &mut Context<'_>,
        id: QuicId,
        data: &[u8],
    ) -> Result<(), SendDatagramError> {
        let Some(conn) = self.conn(id).filter(|conn| conn.lost.is_none()) else {
            return Err(SendDatagramError::Disabled);
        };
        conn.quic.datagrams().send(Bytes::copy_from_slice(data), false)?;
        self.counters.add(Count::DatagramsOut);
        self.mark(context, id);
        Ok(())
    }

    pub(crate) fn max_datagram(&mut self, id: QuicId) -> Option<usize> {
        self.conn(id)?.quic.datagrams().max_size()
    }

    /// From now on a connection goes through another socket of this client.
    pub(crate) fn migrate(
        &mut self,
        context: &mut Context<'_>,
        id: QuicId,
        to: DatagramId,
    ) -> Result<(), QuicError> {
        if !self.sockets.iter().any(|socket| socket.id == to) {
            return Err(QuicError::NoSocket);
        }
        let conn = self.conn(id).ok_or(QuicError::Gone)?;
        let old = std::mem::replace(&mut conn.socket, to);
        if let Some((timer, _)) = conn.timer.take() {
            context.datagrams(old).cancel_timer(timer);
        }
        conn.quic.local_address_changed();
        conn.quic.ping();
        context.notify_turn_end(to);
        self.mark(context, id);
        Ok(())
    }

    pub(crate) fn refresh_keys(&mut self, context: &mut Context<'_>, id: QuicId) -> bool {
        let Some(conn) = self.conn(id).filter(|conn| conn.stage == Stage::Open) else {
            return false;
        };
        conn.quic.force_key_update();
        conn.quic.ping();
        self.mark(context, id);
        true
    }

    pub(crate) fn info(&mut self, id: QuicId) -> Option<Rc<QuicInfo>> {
        self.conn(id)?.info.clone()
    }

    pub(crate) fn stats(&mut self, id: QuicId) -> Option<PathStats> {
        let conn: &mut Conn = self.conn(id)?;
        let stats = conn.quic.stats();
        Some(PathStats {
            remote: conn.remote,
            rtt: stats.path.rtt,
            min_rtt: stats.path.min_rtt,
            congestion_window: stats.path.cwnd,
            mtu: stats.path.current_mtu,
            sent_packets: stats.path.sent_packets,
            lost_packets: stats.path.lost_packets,
            congestion_events: stats.path.congestion_events,
            black_holes: stats.path.black_holes_detected,
            udp_out: stats.udp_tx.datagrams,
            udp_out_bytes: stats.udp_tx.bytes,
            udp_in: stats.udp_rx.datagrams,
            udp_in_bytes: stats.udp_rx.bytes,
            streams: conn.streams.len(),
        })
    }
}
