//! Each rule of resolv.conf(5), and files that break them.

use proptest::prelude::*;

use super::*;

fn parse(text: impl AsRef<[u8]>) -> ResolvConf {
    let zone = |name: &str| (name == "eth0").then_some(7);
    ResolvConf::parse(text.as_ref(), zone)
}

fn servers(conf: &ResolvConf) -> Vec<String> {
    conf.servers.iter().map(ToString::to_string).collect()
}

fn search(conf: &ResolvConf) -> Vec<&str> {
    conf.search.iter().map(|name| &**name).collect()
}

/// The lines that were ignored.
fn ignored(conf: &ResolvConf) -> Vec<usize> {
    conf.ignored.first().iter().map(|ignored| ignored.line).collect()
}

#[test]
fn a_missing_file_means_the_local_server_and_the_defaults_of_the_man_page() {
    let conf = parse("");
    assert_eq!(conf, ResolvConf::default());
    assert_eq!(servers(&conf), ["127.0.0.1:53"]);
    assert!(conf.search.is_empty());
    let options = conf.options;
    assert_eq!((options.ndots, options.attempts), (1, 2));
    assert_eq!(options.timeout, Duration::from_secs(5));
}

#[test]
fn servers_keep_their_order_and_their_duplicates() {
    let conf = parse("nameserver 192.0.2.1\nnameserver\t2001:db8::1\nnameserver 192.0.2.1\n");
    assert_eq!(
        servers(&conf),
        ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.1:53"]
    );
    assert!(conf.ignored.is_empty());
}

#[test]
fn a_line_names_one_server_and_the_rest_of_it_is_ignored() {
    let conf = parse("nameserver 192.0.2.1 192.0.2.2 # and a remark\n");
    assert_eq!(servers(&conf), ["192.0.2.1:53"]);
}

#[test]
fn servers_beyond_the_limit_are_ignored() {
    let text: String = (1..=10).map(|at| format!("nameserver 192.0.2.{at}\n")).collect();
    let conf = parse(text);
    assert_eq!(conf.servers.len(), MAX_SERVERS);
    assert_eq!(servers(&conf)[7], "192.0.2.8:53");
    assert_eq!(ignored(&conf), [9, 10]);
}

#[test]
fn link_local_servers_have_zones() {
    let conf = parse("nameserver fe80::1%eth0\nnameserver fe80::2%12\nnameserver ff02::fb%eth0\n");
    assert_eq!(
        servers(&conf),
        ["[fe80::1%7]:53", "[fe80::2%12]:53", "[ff02::fb%7]:53"]
    );
    assert!(conf.ignored.is_empty());
}

#[test]
fn a_zone_that_is_no_interface_leaves_the_scope_open() {
    let conf = parse("nameserver fe80::1%gone\nnameserver fe80::1%\nnameserver 2001:db8::1%eth0\n");
    assert_eq!(
        servers(&conf),
        ["[fe80::1]:53", "[fe80::1]:53", "[2001:db8::1]:53"]
    );
    assert_eq!(ignored(&conf), [1, 2, 3]);
}

#[test]
fn legacy_forms_of_ipv4_are_what_libc_makes_of_them() {
    assert_eq!(servers(&parse("nameserver 127.1\n")), ["127.0.0.1:53"]);
    assert_eq!(servers(&parse("nameserver 0x7f000001\n")), ["127.0.0.1:53"]);
}

#[test]
fn the_unspecified_address_is_this_host() {
    let conf = parse("nameserver 0.0.0.0\nnameserver ::\n");
    assert_eq!(servers(&conf), ["127.0.0.1:53", "[::1]:53"]);
}

#[test]
fn garbage_is_no_server_and_without_any_the_local_one_is_asked() {
    let garbage = [
        "dns.example",
        "1.2.3.4:53",
        "[::1]",
        "[::1]:53",
        "1.2.3.4.5",
        "256.0.0.1",
        ":::",
        "1.2.3.4%eth0",
        "\u{661}",
        "-1",
        "%eth0",
        "12345::",
    ];
    for word in garbage {
        let conf = parse(format!("nameserver {word}\n"));
        assert_eq!(servers(&conf), ["127.0.0.1:53"], "{word}");
        assert_eq!(ignored(&conf), [1], "{word}");
    }
    for line in [
        "nameserver",
        "nameserver ",
        "nameserver \t",
        "nameserver\0 192.0.2.1",
        "nameserver \0 192.0.2.1",
    ] {
        let conf = parse(line);
        assert_eq!(
            (servers(&conf), ignored(&conf)),
            (vec!["127.0.0.1:53".to_owned()], vec![1]),
            "{line:?}"
        );
    }
}

#[test]
fn the_keyword_starts_the_line_in_lower_case_and_a_blank_follows() {
    let conf =
        parse(" nameserver 192.0.2.1\nNAMESERVER 192.0.2.2\nnameserver:192.0.2.3\nnameservers 192.0.2.4\n");
    assert_eq!(servers(&conf), ["127.0.0.1:53"]);
    assert_eq!(ignored(&conf), [1, 2, 3, 4]);
}

#[test]
fn comments_begin_at_the_start_of_a_line_only() {
    let conf = parse("# nameserver 192.0.2.1\n; nameserver 192.0.2.2\n#\n;\n\nsearch a.example # word\n");
    assert_eq!(servers(&conf), ["127.0.0.1:53"]);
    // As in glibc, which would append the `#` as well.
    assert_eq!(search(&conf), ["a.example", "word"]);
    assert_eq!(ignored(&conf), [6]);
    assert_eq!(ignored(&parse(" # no comment\n")), [1]);
}

#[test]
fn the_last_of_search_and_domain_wins() {
    assert_eq!(
        search(&parse("search a.example b.example\ndomain c.example\n")),
        ["c.example"]
    );
    assert_eq!(
        search(&parse("domain c.example\nsearch a.example\tb.example\n")),
        ["a.example", "b.example"]
    );
    assert_eq!(
        search(&parse("search a.example\nsearch b.example\n")),
        ["b.example"]
    );
    assert_eq!(
        search(&parse("search a.example\nsearch\nsearch  \n")),
        ["a.example"]
    );
}

#[test]
fn domain_handles_one_entry_only() {
    assert_eq!(search(&parse("domain a.example b.example\n")), ["a.example"]);
}

#[test]
fn domains_are_in_lower_case_and_without_the_dot_at_the_end() {
    assert_eq!(
        search(&parse("search Example.ORG. .corp\n")),
        ["example.org", "corp"]
    );
}

#[test]
fn a_dot_in_the_search_list_is_the_root() {
    assert_eq!(search(&parse("search .\n")), [""]);
    assert_eq!(search(&parse("search . a.example\n")), ["", "a.example"]);
}

#[test]
fn domains_that_no_query_can_have_are_ignored() {
    let label = "a".repeat(64);
    let name = format!("{}.example", vec!["a".repeat(63); 4].join("."));
    let conf = parse(format!(
        "search ok.example {label} {name} a..b b\u{fc}cher.example x/y *.z\n"
    ));
    assert_eq!(search(&conf), ["ok.example"]);
    assert_eq!(ignored(&conf), [1; 6]);
    // The directive counts all the same: the host name's domain does not take its place.
    assert_eq!(search(&parse("search a.example\nsearch a..b\n")), [""]);
}

#[test]
fn the_search_list_is_long_and_bounded() {
    let names: Vec<_> = (0..40).map(|at| format!("d{at}.example")).collect();
    let conf = parse(format!("search {}\n", names.join(" ")));
    assert_eq!(search(&conf), names[..MAX_SEARCH]);
    assert_eq!(ignored(&conf), [1; 8]);
}

#[test]
fn options_of_all_lines_add_up_and_the_later_value_wins() {
    let conf = parse("options ndots:3 rotate\noptions\ttimeout:2  attempts:4\toptions ndots:2\n");
    let wanted = ResolvOptions {
        ndots: 2,
        timeout: Duration::from_secs(2),
        attempts: 4,
        rotate: true,
        ..ResolvOptions::default()
    };
    assert_eq!(conf.options, wanted);
    // The word `options` in the middle of the line.
    assert_eq!(ignored(&conf), [2]);
}

#[test]
fn every_option_of_the_man_page_is_known() {
    let conf = parse(
        "options rotate edns0 single-request single-request-reopen no-tld-query use-vc no-reload trust-ad no-aaaa\n",
    );
    let options = conf.options;
    assert!(options.rotate && options.edns0 && options.single_request && options.single_request_reopen);
    assert!(
        options.no_tld_query && options.use_vc && options.no_reload && options.trust_ad && options.no_aaaa
    );
    assert!(conf.ignored.is_empty());
    let conf = parse("options single-request-reopen\n");
    assert!(!conf.options.single_request);
    let conf = parse("options debug inet6 ip6-bytestring ip6-dotint no-ip6-dotint no-check-names\n");
    assert_eq!(conf.options, ResolvOptions::default());
    assert!(
        conf.ignored
            .first()
            .iter()
            .all(|ignored| ignored.why.contains("no effect"))
    );
}

#[test]
fn values_are_silently_capped() {
    let options = parse("options ndots:16 timeout:31 attempts:6\n").options;
    assert_eq!(
        (options.ndots, options.timeout.as_secs(), options.attempts),
        (15, 30, 5)
    );
    let options = parse("options ndots:99999999999999999999 timeout:4294967296 attempts:257\n").options;
    assert_eq!(
        (options.ndots, options.timeout.as_secs(), options.attempts),
        (15, 30, 5)
    );
    let options = parse("options ndots:0 timeout:0 attempts:0\n").options;
    assert_eq!(
        (options.ndots, options.timeout.as_secs(), options.attempts),
        (0, 1, 1)
    );
}

#[test]
fn options_that_are_none_are_ignored() {
    let conf = parse("options ndots: ndots:x ndots:-1 timeout attempts Rotate colour:blue #\n");
    assert_eq!(conf.options, ResolvOptions::default());
    assert_eq!(ignored(&conf), [1; 8]);
    // As glibc reads them.
    let options = parse("options ndots:2, rotate; edns0\n").options;
    assert!(options.ndots == 2 && options.rotate && options.edns0);
}

#[test]
fn sortlist_and_unknown_keywords_are_ignored() {
    let conf = parse("sortlist 130.155.160.0/255.255.240.0\nlookup file bind\nfamily inet4\nport 5353\n");
    assert_eq!(ignored(&conf), [1, 2, 3, 4]);
    assert_eq!(conf.servers, ResolvConf::default().servers);
}

#[test]
fn line_ends_of_any_system_and_none_at_the_end() {
    let conf =
        parse("nameserver 192.0.2.1\r\nsearch a.example\r\noptions rotate\r\n\r\nnameserver 192.0.2.2");
    assert_eq!(servers(&conf), ["192.0.2.1:53", "192.0.2.2:53"]);
    assert_eq!(search(&conf), ["a.example"]);
    assert!(conf.options.rotate && conf.ignored.is_empty());
}

#[test]
fn bytes_that_are_no_text_are_ignored() {
    let conf = parse(b"nameserver \xff\xfe\nsearch \x80.example ok.example\n\xef\xbb\xbfnameserver 192.0.2.1\n\x7fELF\x01\n");
    assert_eq!(servers(&conf), ["127.0.0.1:53"]);
    assert_eq!(search(&conf), ["ok.example"]);
    assert_eq!(ignored(&conf), [1, 2, 3, 4]);
}

#[test]
fn a_nul_ends_its_line() {
    let conf = parse(b"nameserver 192.0.2.1\0.5\nsearch a.example\0 b.example\n");
    assert_eq!(servers(&conf), ["192.0.2.1:53"]);
    assert_eq!(search(&conf), ["a.example"]);
}

#[test]
fn huge_lines_and_a_million_of_them_are_bounded() {
    let conf = parse(format!(
        "nameserver {}\nsearch {}\n",
        "1".repeat(1 << 20),
        "a ".repeat(1 << 19)
    ));
    assert_eq!((conf.servers.len(), conf.search.len()), (1, MAX_SEARCH));
    let conf = parse("nameserver 192.0.2.1\nrubbish here\n".repeat(500_000));
    assert_eq!(conf.servers.len(), MAX_SERVERS);
    assert_eq!(conf.ignored.total(), 999_992);
    assert_eq!(conf.ignored.first().len(), super::super::MAX_IGNORED);
}

#[test]
fn localdomain_takes_the_place_of_the_search_list() {
    let environment = |domains: &str| Environment {
        local_domain: Some(domains.to_owned()),
        host_name: Some("host.own.example".to_owned()),
        ..Environment::default()
    };
    let of = |domains| parse("search a.example b.example\n").with_environment(&environment(domains));
    assert_eq!(search(&of("c.example\td.example")), ["c.example", "d.example"]);
    // Whatever follows a newline does not count, and an empty value is a list without domains.
    assert_eq!(search(&of("c.example\nd.example")), ["c.example"]);
    assert_eq!(search(&of("")), [""]);
    assert_eq!(ignored(&of("a..b")), [0]);
}

#[test]
fn res_options_come_after_the_options_of_the_file() {
    let environment = Environment {
        options: Some("ndots:5 use-vc nonsense".to_owned()),
        ..Environment::default()
    };
    let conf = parse("options ndots:2 rotate\n").with_environment(&environment);
    assert!(conf.options.ndots == 5 && conf.options.use_vc && conf.options.rotate);
    assert_eq!(conf.ignored.first()[0].to_string(), "environment: unknown option");
}

#[test]
fn without_a_search_list_the_domain_of_the_host_name_is_searched() {
    let of = |text: &str, host: &str| {
        let environment = Environment {
            host_name: Some(host.to_owned()),
            ..Environment::default()
        };
        parse(text).with_environment(&environment)
    };
    assert_eq!(search(&of("", "www.Example.org")), ["example.org"]);
    assert!(search(&of("", "www")).is_empty());
    assert_eq!(
        search(&of("domain a.example\n", "www.example.org")),
        ["a.example"]
    );
    assert_eq!(search(&of("search .\n", "www.example.org")), [""]);
}

proptest! {
    #[test]
    fn prop_any_bytes_give_a_bounded_configuration(text in proptest::collection::vec(any::<u8>(), 0..512)) {
        bounded(&parse(text));
    }

    #[test]
    fn prop_any_lines_give_a_bounded_configuration(
        text in "((nameserver|search|domain|options|sortlist|#)?[ \t]?([a-zA-Z0-9.:%_-]{0,20}[ \t]?){0,4}\r?\n){0,40}",
    ) {
        let conf = parse(&text);
        bounded(&conf);
        // What has no line end yet reads the same.
        prop_assert_eq!(parse(text.trim_end_matches('\n')).servers, conf.servers);
    }
}

fn bounded(conf: &ResolvConf) {
    assert!((1..=MAX_SERVERS).contains(&conf.servers.len()) && conf.search.len() <= MAX_SEARCH);
    assert!(
        conf.servers
            .iter()
            .all(|server| server.port() == 53 && !server.ip().is_unspecified())
    );
    assert!(
        conf.search
            .iter()
            .all(|name| name.len() <= 253 && !name.ends_with('.'))
    );
    let options = conf.options;
    assert!(options.ndots <= 15 && (1..=5).contains(&options.attempts));
    assert!((1..=30).contains(&options.timeout.as_secs()));
}
