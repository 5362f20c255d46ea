//! The grammar of nsswitch.conf(5), the lines of real systems, and files that break the rules.

use proptest::prelude::*;

use super::*;

fn names(switch: &NsSwitch) -> Vec<&str> {
    switch.entries.iter().map(|entry| entry.source.name()).collect()
}

fn hosts(line: &str) -> NsSwitch {
    NsSwitch::parse(format!("hosts: {line}\n").as_bytes())
}

#[test]
fn without_a_file_or_a_line_it_is_files_and_dns() {
    for text in [
        "",
        "\n",
        "passwd: files ldap\n",
        "# hosts: dns\n",
        "hostss: nis\nHOSTS: nis\nmyhosts: nis\n",
    ] {
        let switch = NsSwitch::parse(text.as_bytes());
        assert_eq!(names(&switch), ["files", "dns"], "{text:?}");
        assert_eq!(switch.needs_system(), None);
    }
}

#[test]
fn the_lines_of_real_systems() {
    for (line, first) in [
        ("files dns", None),
        ("files dns [!UNAVAIL=return] files", None),
        // Ubuntu, Debian with libnss-mdns.
        ("files mdns4_minimal [NOTFOUND=return] dns", Some("mdns4_minimal")),
        // Fedora.
        (
            "files myhostname mdns4_minimal [NOTFOUND=return] resolve [!UNAVAIL=return] dns",
            Some("myhostname"),
        ),
        // Arch Linux.
        (
            "mymachines resolve [!UNAVAIL=return] files myhostname dns",
            Some("mymachines"),
        ),
        ("resolve [!UNAVAIL=return] files dns", Some("resolve")),
        ("files nis dns", Some("nis")),
        ("files dns ldap", Some("ldap")),
        ("files wins dns", Some("wins")),
        ("db files", Some("db")),
    ] {
        let switch = hosts(line);
        assert_eq!(switch.needs_system(), first, "{line}");
        assert!(switch.ignored.is_empty(), "{line}");
    }
}

#[test]
fn sources_are_told_apart() {
    let switch = hosts("files dns resolve myhostname mdns6 mdns_minimal ldap");
    let sources: Vec<_> = switch.entries.into_iter().map(|entry| entry.source).collect();
    let wanted = [
        Source::Files,
        Source::Dns,
        Source::Resolve,
        Source::MyHostname,
        Source::Mdns("mdns6".into()),
        Source::Mdns("mdns_minimal".into()),
        Source::Other("ldap".into()),
    ];
    assert_eq!(sources, wanted);
}

#[test]
fn the_default_actions_are_those_of_the_man_page() {
    let actions = hosts("dns").entries[0].actions;
    assert_eq!(actions, Actions::default());
    assert_eq!(actions.on(Status::Success), Action::Return);
    for status in [Status::NotFound, Status::Unavailable, Status::TryAgain] {
        assert_eq!(actions.on(status), Action::Continue);
    }
}

#[test]
fn an_action_belongs_to_the_source_before_it_and_case_does_not_matter() {
    let switch =
        hosts("nis[NotFound=Return]dns [ UNAVAIL = continue TRYAGAIN=return ] files [success=merge]");
    assert_eq!(names(&switch), ["nis", "dns", "files"]);
    assert_eq!(switch.entries[0].actions.not_found, Action::Return);
    assert_eq!(switch.entries[0].actions.unavailable, Action::Continue);
    assert_eq!(switch.entries[1].actions.try_again, Action::Return);
    assert_eq!(switch.entries[2].actions.success, Action::Merge);
}

#[test]
fn an_exclamation_mark_means_all_but_this_one() {
    let actions = hosts("dns [!UNAVAIL=return] files").entries[0].actions;
    assert_eq!(actions.unavailable, Action::Continue);
    assert_eq!(
        (actions.success, actions.not_found, actions.try_again),
        (Action::Return, Action::Return, Action::Return)
    );
    let actions = hosts("dns [!SUCCESS=return SUCCESS=continue]").entries[0].actions;
    assert_eq!(
        (actions.success, actions.not_found),
        (Action::Continue, Action::Return)
    );
}

#[test]
fn sources_that_are_never_reached_do_not_need_the_system() {
    assert_eq!(hosts("files dns [!SUCCESS=return] ldap").needs_system(), None);
    assert_eq!(
        hosts("files dns [!UNAVAIL=return] ldap").needs_system(),
        Some("ldap")
    );
}

#[test]
fn the_last_line_wins_and_blanks_before_it_do_not_matter() {
    let switch = NsSwitch::parse(b"hosts: nis\n \t hosts :dns\npasswd: files\n");
    assert_eq!(names(&switch), ["dns"]);
}

#[test]
fn an_empty_line_asks_nobody() {
    assert!(NsSwitch::parse(b"hosts:\n").entries.is_empty());
    assert_eq!(hosts("# files").needs_system(), None);
}

#[test]
fn a_comment_begins_anywhere() {
    let switch = hosts("files dns # ldap [");
    assert_eq!(names(&switch), ["files", "dns"]);
    assert!(switch.ignored.is_empty());
}

#[test]
fn what_comes_before_broken_brackets_counts() {
    for line in [
        "files dns [NOTFOUND",
        "files dns [NOTFOUND=",
        "files dns [NOTFOUND=return",
        "files dns []",
        "files dns [=]",
        "files dns [NOTFOUND=go]",
        "files dns [MAYBE=return]",
        "files dns [!!NOTFOUND=return]",
        "files dns [ return ]",
        "files dns [NOTFOUND=return UNAVAIL]",
        "files dns ] x",
    ] {
        let switch = hosts(line);
        assert_eq!(switch.entries[0].source, Source::Files, "{line}");
        if !line.contains(']') || line.contains('[') {
            assert_eq!(names(&switch), ["files"], "{line}");
            assert_eq!(switch.ignored.first()[0].line, 1, "{line}");
        }
    }
    let switch = NsSwitch::parse(b"passwd: files\nhosts: [NOTFOUND=return] dns\n");
    assert_eq!(names(&switch), ["files", "dns"]);
    assert_eq!(
        switch.ignored.first()[0].to_string(),
        "line 2: an action without a source before it"
    );
}

#[test]
fn bytes_that_are_no_text_line_ends_and_lines_without_end() {
    let switch = NsSwitch::parse(b"\xff\xfe\nhosts: files dns\r\n\0hosts: nis");
    assert_eq!(names(&switch), ["files", "dns"]);
    let switch = NsSwitch::parse(b"hosts: files \xff dns");
    assert_eq!((names(&switch), switch.ignored.total()), (vec!["files"], 1));
    let switch = hosts(&"x ".repeat(1 << 18));
    assert_eq!(switch.entries.len(), 1 << 18);
    let switch = NsSwitch::parse("hosts: files [\n".repeat(100_000).as_bytes());
    assert_eq!(switch.ignored.total(), 100_000);
}

proptest! {
    #[test]
    fn prop_any_bytes_are_an_order(text in proptest::collection::vec(any::<u8>(), 0..256)) {
        let _ = NsSwitch::parse(&text).needs_system();
        let line = [b"hosts:", text.as_slice()].concat();
        prop_assert!(NsSwitch::parse(&line).entries.len() <= line.len());
    }

    #[test]
    fn prop_any_sources_come_in_their_order(
        sources in proptest::collection::vec(("[a-z0-9_]{1,8}", "( ?\\[ ?!?(NOTFOUND|unavail) ?= ?(return|merge) ?\\])?"), 0..8),
    ) {
        let line: String = sources.iter().map(|(name, actions)| format!(" {name}{actions}")).collect();
        let switch = hosts(&line);
        prop_assert_eq!(names(&switch), sources.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>());
        prop_assert!(switch.ignored.is_empty());
    }
}
