//! Faults planted in the simulator on purpose, to see that the conformance suite notices each of them.
//!
//! Without the feature `mutants` nothing of it is compiled in: [`World::mutated`](crate::world::World) is
//! the constant `false`.

macro_rules! mutants {
    ($($(#[doc = $doc:literal])+ $name:ident,)*) => {
        /// One way in which the simulator can be made kinder, or stranger, than Linux.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[non_exhaustive]
        pub enum Mutant {
            $($(#[doc = $doc])+ $name,)*
        }

        impl Mutant {
            /// Every mutant.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// What it does, in a few words.
            #[must_use]
            pub fn description(self) -> &'static str {
                match self { $(Self::$name => concat!($($doc),+).trim_ascii(),)* }
            }
        }
    };
}

mutants! {
    /// Closing a Unix socket with bytes unread is an end instead of a reset.
    UnixCloseUnreadIsEnd,
    /// The backlog of a Unix listener has no bound.
    UnixBacklogUnbounded,
    /// Two Unix listeners may have one name.
    UnixNameAlwaysFree,
    /// The name of a closed Unix listener is never free again.
    UnixNameNeverFree,
    /// Who connects to a Unix listener does not learn its name.
    UnixPeerIsUnnamed,
    /// A path where nothing is refuses, as one where nobody listens.
    UnixMissingRefuses,
    /// Listeners without a name all get the same one.
    UnixNamesRepeat,
    /// The queue of a Unix socket of datagrams has no bound.
    UnixQueueUnbounded,
    /// A connected Unix socket of datagrams hears everybody.
    UnixConnectedHearsAll,
    /// Datagrams over Unix sockets name no sender.
    UnixSenderUnknown,
    /// A datagram to a Unix socket of streams goes nowhere, without an error.
    UnixWrongTypeIsFine,
    /// A close with unread data ends in order instead of with a reset.
    CloseUnreadIsFin,
    /// An abort ends in order instead of with a reset.
    AbortIsFin,
    /// A drop in order resets.
    CloseIsReset,
    /// A reset discards the bytes that had arrived before it.
    ResetDropsData,
    /// The error of a reset is told again and again.
    ErrorIsSticky,
    /// The error of a reset is lost: reads see an end of stream.
    ResetIsEof,
    /// A reset after the peer's end says ECONNRESET instead of EPIPE.
    ResetAfterFinIsReset,
    /// Writing after a shutdown is taken.
    WriteAfterShutdown,
    /// A shutdown of one direction ends both.
    ShutdownEndsBoth,
    /// A shutdown never reaches the peer.
    ShutdownIsSilent,
    /// Shutting down a dead connection succeeds.
    ShutdownOfDeadIsOk,
    /// No listener means silence instead of a refusal.
    RefusalIsSilent,
    /// A connect stands although nobody listens.
    ConnectAlwaysStands,
    /// The backlog has no bound.
    BacklogUnbounded,
    /// A connection that was reset before accept is dropped from the backlog.
    ResetLeavesBacklog,
    /// Closing a listener leaves its backlog alone.
    ListenerCloseKeepsBacklog,
    /// Two listeners may share an address.
    AddressAlwaysFree,
    /// A port is never free again.
    AddressNeverFree,
    /// Binding to an address that is not local succeeds.
    ForeignAddressBinds,
    /// No event for data that arrives.
    DataIsSilent,
    /// No event for the peer's end.
    EofIsSilent,
    /// No event for a reset.
    ResetIsSilent,
    /// No event when a full send buffer has drained.
    DrainIsSilent,
    /// No event for a connection in the backlog.
    BacklogIsSilent,
    /// No event for the outcome of a connect.
    ConnectIsSilent,
    /// A socket that is ready when it is registered gives no event.
    RegisterIsSilent,
    /// Readiness is reported at every poll, not at changes.
    LevelTriggered,
    /// The peer's end is not flagged.
    EofUnflagged,
    /// A pending error is not flagged.
    ErrorUnflagged,
    /// A stream is always reported writable.
    AlwaysWritable,
    /// A send buffer has no bound.
    SendBufferUnbounded,
    /// A byte in a thousand is lost from streams.
    StreamLosesBytes,
    /// Bytes of a stream arrive swapped.
    StreamCorrupts,
    /// Reads give one byte too few and forget it.
    ReadForgetsTail,
    /// Reading nothing says the end of the stream instead of WouldBlock.
    EmptyReadIsEof,
    /// The peer's address is unknown.
    PeerAddrFails,
    /// The local address keeps port 0.
    LocalPortIsZero,
    /// Accept gives the wrong peer.
    AcceptsWrongPeer,
    /// A vectored write takes its first buffer only, and says it took all.
    VectoredDropsRest,
    /// A connect to oneself is refused.
    NoSelfConnect,
    /// Datagrams vanish.
    DatagramsVanish,
    /// Datagrams are never cut.
    NoTruncation,
    /// Empty datagrams vanish.
    EmptyDatagramsVanish,
    /// Each datagram comes twice.
    DatagramsTwice,
    /// Datagrams come in the reverse order.
    DatagramsReversed,
    /// Datagrams name the wrong sender.
    DatagramsWrongSource,
    /// A closed port refuses nothing.
    NoPortUnreachable,
    /// A refusal reaches unconnected sockets without an error queue too.
    RefusalForAll,
    /// The error queue stays empty.
    ErrorQueueEmpty,
    /// A datagram of any length is taken.
    AnyDatagramLength,
    /// A connected datagram socket hears everybody.
    ConnectedHearsAll,
    /// Port 0 is a destination like others.
    PortZeroIsFine,
    /// A receive buffer of datagrams has no bound.
    RecvBufferUnbounded,
    /// Broadcasts need no permission.
    BroadcastAllowed,
    /// Nobody answers an ICMP echo.
    EchoUnanswered,
    /// Hop limits are not reported.
    HopLimitUnknown,
    /// Traffic classes are not carried.
    TrafficClassLost,
    /// The destination of a datagram is not reported.
    DestinationUnknown,
    /// Listeners of both families do not see IPv4.
    DualStackIsV6Only,
    /// Listeners of IPv6 only see IPv4 too.
    V6OnlyIsDual,
    /// The alarm never comes.
    AlarmIsSilent,
    /// The alarm comes at once.
    AlarmIsEarly,
    /// Wake-ups are lost.
    WakeIsLost,
    /// Events come under the wrong token.
    WrongToken,
    /// Events of a deregistered socket go on.
    DeregisterIgnored,
    /// Options that do not exist are accepted, and sizes ignored.
    BufferSizesIgnored,
    /// Accept goes on with no descriptor left.
    NoDescriptorLimit,
    /// Groups and broadcasts can be connected to.
    GroupsConnect,
    /// The kernel knows no broadcast address but 255.255.255.255.
    OneBroadcastOnly,
    /// A vectored write takes any number of buffers.
    AnyNumberOfBuffers,
    /// A port that an ended connection still holds can be connected from.
    EndedConnectionsAreForgotten,
    /// A peer that never reads is waited for without end.
    ZeroWindowIsPatient,
    /// Datagrams that must not be cut are cut.
    ProbesAreCut,
    /// Addresses of both families are taken everywhere.
    FamiliesMix,
    /// An empty backlog is an error.
    EmptyBacklogFails,
    /// A datagram without a destination is taken.
    NoDestinationIsFine,
    /// Receiving nothing is a success.
    EmptyReceiveIsFine,
    /// A hop limit of 0 is taken.
    HopLimitZeroIsFine,
    /// Raw sockets do not hear what the own host sends.
    OwnPacketsUnheard,
    /// Protocol 0 is a protocol.
    ProtocolZeroIsFine,
    /// An alarm that was cleared comes.
    ClearedAlarmComes,
    /// A poll that need not wait tells something that is not so.
    PollInvents,
    /// Random numbers are always the same.
    RandomIsConstant,
    /// An end with both halves shut takes what comes.
    DeafEndsListen,
    /// Errors of the host itself are not queued.
    LocalErrorsUnqueued,
}
