//! `struct tcp_info` of linux/tcp.h: fields at their places, as many as this kernel has.

use serde_json::{Value, json};

/// The bytes of the kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct TcpInfo<'a>(pub(super) &'a [u8]);

impl TcpInfo<'_> {
    fn u32(self, at: usize) -> Option<u32> {
        Some(u32::from_ne_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    fn u64(self, at: usize) -> Option<u64> {
        Some(u64::from_ne_bytes(*self.0.get(at..)?.first_chunk()?))
    }

    /// A time of the kernel, which are in microseconds, in nanoseconds.
    fn ns(self, at: usize) -> Option<u64> {
        self.u32(at).map(|us| u64::from(us) * 1_000)
    }

    /// Smoothed round trip and its mean deviation, in microseconds.
    fn rtt_us(self) -> Option<(u32, u32)> {
        Some((self.u32(68)?, self.u32(72)?))
    }

    /// In words, for the second line of a socket.
    pub(super) fn words(self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some((rtt, deviation)) = self.rtt_us() {
            words.push(format!("rtt {:.3}±{:.3} ms", ms(rtt), ms(deviation)));
        }
        if let Some(rto) = self.u32(8) {
            words.push(format!("rto {:.3} ms", ms(rto)));
        }
        if let (Some(cwnd), Some(mss)) = (self.u32(80), self.u32(16)) {
            words.push(format!("cwnd {cwnd}×{mss}"));
        }
        if let Some(total) = self.u32(100) {
            words.push(format!("retransmits {total}"));
        }
        if let Some(lost) = self.u32(32).filter(|lost| *lost > 0) {
            words.push(format!("lost {lost}"));
        }
        if let Some(rate) = self.u64(160).filter(|rate| *rate > 0) {
            words.push(format!("delivery {rate} B/s"));
        }
        if let Some(sent) = self.u64(200).or_else(|| self.u64(120)) {
            words.push(format!("sent {sent} B"));
        }
        if let Some(received) = self.u64(128) {
            words.push(format!("received {received} B"));
        }
        words
    }

    /// For programs; null where this kernel does not say it.
    pub(super) fn json(self) -> Value {
        json!({
            "rtt_ns": self.ns(68),
            "rtt_deviation_ns": self.ns(72),
            "min_rtt_ns": self.ns(148),
            "rto_ns": self.ns(8),
            "mss_bytes": self.u32(16),
            "path_mtu_bytes": self.u32(60),
            "cwnd_segments": self.u32(80),
            "ssthresh_segments": self.u32(76),
            "unacked_segments": self.u32(24),
            "lost_segments": self.u32(32),
            "retransmits": self.u32(100),
            "pacing_rate_bytes_per_second": self.u64(104),
            "delivery_rate_bytes_per_second": self.u64(160),
            "bytes_sent": self.u64(200),
            "bytes_acked": self.u64(120),
            "bytes_received": self.u64(128),
            "bytes_retransmitted": self.u64(208),
            "not_sent_bytes": self.u32(144),
        })
    }
}

fn ms(us: u32) -> f64 {
    f64::from(us) / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_length_is_read_as_far_as_it_goes() {
        let bytes: Vec<u8> = (0..=255).collect();
        for length in 0..bytes.len() {
            let info = TcpInfo(&bytes[..length]);
            assert_eq!(info.json()["rtt_ns"].is_null(), length < 72);
            assert!(info.words().len() <= 8);
        }
    }
}
