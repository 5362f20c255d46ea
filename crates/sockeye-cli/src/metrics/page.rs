//! The status page: one document, with its style and its script in it, which asks for `/status.json` once a second.

use super::encoding::Body;

/// The header of the policy, which lets the page's own style and script run and nothing else.
pub(super) const POLICY: &str = "Content-Security-Policy";

const PAGE: &str = include_str!("page.html");
/// Where the page has its nonce.
const NONCE: &str = "{nonce}";

/// The page under a nonce of these two random numbers, and the line of its policy.
pub(super) fn page(high: u64, low: u64) -> (Body, String) {
    let nonce = format!("{high:016x}{low:016x}");
    let page = PAGE.replace(NONCE, &nonce);
    let policy = format!(
        "{POLICY}: default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    (Body::of("text/html; charset=utf-8", page.as_bytes()), policy)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_page_runs_is_what_the_policy_allows() {
        let (body, policy) = page(1, 2);
        let text = String::from_utf8(body.pieces.concat()).unwrap();
        let nonce = "00000000000000010000000000000002";
        assert_eq!(policy.matches(nonce).count(), 2);
        assert_eq!(text.matches(&format!("nonce=\"{nonce}\"")).count(), 2);
        assert!(!text.contains(NONCE));
        // What comes from outside is never markup.
        for never in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "style=\"",
            "http:",
            "https:",
            " on",
        ] {
            let found = text.match_indices(never).next();
            let allowed = never == " on" || never == "http:";
            assert!(found.is_none() || allowed, "{never} at {found:?}");
        }
    }
}
