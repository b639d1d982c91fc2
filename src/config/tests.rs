use super::*;

fn env(pairs: &[(&str, &str)]) -> impl Iterator<Item = (String, String)> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>().into_iter()
}

fn refused(text: &str, pairs: &[(&str, &str)]) -> String {
    Config::parse(text, "c.toml", env(pairs)).unwrap_err().to_string()
}

#[test]
fn a_problem_names_place_key_value_and_nearest_key() {
    assert_eq!(
        refused("shutdown_timeout = \"10s\"\nshutdown_timeot = 5\n", &[]),
        "c.toml:2:1: no such key: `shutdown_timeot`, the nearest is `shutdown_timeout`"
    );
    assert_eq!(
        refused("\nshutdown_timeout = \"soon\"", &[]),
        "c.toml:2:1: `shutdown_timeout` = \"soon\": `soon` is not a duration: write it like \"200ms\", \"10s\", \
         \"1h\" or \"30d\""
    );
    let keep = "[[counters]]\nname = \"a\"\nwindows = [{ size = \"10s\", kep = \"1h\" }]";
    assert!(refused(keep, &[]).starts_with("c.toml:3:28: no such key: `counters[0].windows[0].kep`, the nearest is"));
}

#[test]
fn what_is_not_toml_is_placed_but_not_quoted() {
    let error = refused("[store.redis]\nurl = redis://:pass@host", &[]);
    assert!(error.starts_with("c.toml:2:"), "{error}");
    assert!(!error.contains("pass"), "{error}");
}

#[test]
fn the_environment_wins_over_the_file() {
    let pairs = [("STREAMGAUGE_SHUTDOWN_TIMEOUT", "3s"), ("STREAMGAUGE_LOG", "debug"), ("PATH", "/bin")];
    let config = Config::parse("shutdown_timeout = \"9s\"", "c.toml", env(&pairs)).unwrap();
    assert_eq!(config.shutdown_timeout, Duration::from_secs(3));
    let counters = [("STREAMGAUGE_COUNTERS", r#"[{ name = "a", windows = [{ size = "1m", keep = "1h" }] }]"#)];
    assert_eq!(Config::load(None, env(&counters)).unwrap().counters[0].name, "a");
}

#[test]
fn a_wrong_variable_is_named_with_the_nearest() {
    assert_eq!(
        refused("", &[("STREAMGAUGE_STORE__REDIS__ULR", "redis://:pass@host")]),
        "STREAMGAUGE_STORE__REDIS__ULR: no such key: store.redis.ulr, the nearest is STREAMGAUGE_STORE__REDIS__URL"
    );
    assert!(refused("", &[("STREAMGAUGE_SHUTDOWN_TIMEOUT", "3")]).starts_with("STREAMGAUGE_SHUTDOWN_TIMEOUT: "));
    assert!(refused("", &[("STREAMGAUGE_SHUTDOWN_TIMOUT", "3s")]).contains("nearest is STREAMGAUGE_SHUTDOWN_TIMEOUT"));
}

#[test]
fn variables_that_an_orchestrator_sets_for_a_service_of_this_name_are_left_alone() {
    let pairs = [("STREAMGAUGE_PORT", "tcp://10.0.0.1:8081"), ("STREAMGAUGE_SERVICE_HOST", "10.0.0.1")];
    Config::load(None, env(&pairs)).unwrap();
}

#[test]
fn a_spool_beside_an_embedded_log_is_refused() {
    let text = "[ingest.spool]\npath = \"x.db\"\n[log]\nkind = \"embedded\"";
    let message = refused(text, &[]);
    assert!(message.starts_with("c.toml:") && message.contains("ingest.spool.path: with log.kind"), "{message}");
}

#[test]
fn a_refused_counter_is_placed() {
    let error = refused("\n\n[[counters]]\nname = \"A\"\nwindows = [{ size = \"1m\", keep = \"1h\" }]", &[]);
    assert!(error.starts_with("c.toml:4:1: counter `A`: a name"), "{error}");
}

#[test]
fn a_refused_site_is_placed() {
    let shop = "[[sites]]\nname = \"shop\"\nwrite_keys = [\"k\"]\n";
    assert!(refused(&format!("{shop}{shop}"), &[]).starts_with("c.toml:5:1: site `shop` is defined twice"));
    let error = refused(&format!("{shop}[[sites]]\nname = \"api\"\nwrite_keys = [\"k\"]"), &[]);
    assert!(error.starts_with("c.toml:5:1: site `api` has a write key in common with `shop`"), "{error}");
    assert_eq!(
        refused(&format!("{shop}origins = [\"*\"]"), &[]),
        "c.toml:4:1: no such key: `sites[0].origins`, the nearest is `sites[0].allowed_origins`"
    );
}

#[test]
fn sites_open_a_public_address_and_come_from_the_environment_too() {
    let sites = ("STREAMGAUGE_SITES", "[{ name = \"shop\", write_keys = [\"k\"] }]");
    let config = Config::load(None, env(&[sites, ("STREAMGAUGE_INGEST__LISTEN", "0.0.0.0:1")])).unwrap();
    assert_eq!(config.sites[0].name, "shop");
}

#[test]
fn the_documented_values_are_the_defaults() {
    let documented = Config::parse(DOCUMENTED, "config/streamgauge.toml", env(&[])).unwrap();
    assert_eq!(format!("{documented:#?}"), format!("{:#?}", Config::default()));
}

#[test]
fn a_key_that_a_component_does_not_know_is_named_with_the_nearest() {
    assert_eq!(
        refused("[store.redis]\nulr = \"redis://:hunter2@host\"", &[]),
        "c.toml:2:1: no such key: `store.redis.ulr`, the nearest is `store.redis.url`"
    );
    assert_eq!(
        refused("[ingest]\nlisen = \"127.0.0.1:1\"", &[]),
        "c.toml:2:1: no such key: `ingest.lisen`, the nearest is `ingest.listen`"
    );
    assert!(refused("[log.kafka]\ngroupp = \"a\"", &[]).contains("nearest is `log.kafka.group`"));
    assert!(refused("[pipeline]\nhorizon = 1", &[]).contains("no such key: `pipeline.horizon`"));
}

#[test]
fn a_value_that_a_component_refuses_is_placed() {
    assert!(refused("[ingest]\n\nlisten = \"0.0.0.0:1\"", &[]).starts_with("c.toml:3:1: ingest.listen"));
    assert!(refused("[pipeline]\nworkers = 1000", &[]).starts_with("c.toml:2:1: pipeline.workers"));
    assert!(refused("[query]\nlisten = \"127.0.0.1:8081\"", &[]).contains("ingest.listen and query.listen are both"));
    assert_eq!(
        refused("[log]\nkind = \"kafak\"", &[]),
        "c.toml:2:1: `log.kind` = \"kafak\": unknown variant `kafak`, expected `kafka` or `embedded`"
    );
    assert!(refused("[log.kafka.properties]\nacks = \"1\"", &[]).starts_with("c.toml:2:1: log.kafka.properties"));
}

#[test]
fn no_message_shows_a_secret() {
    for (text, pairs) in [
        ("[store.redis]\nurl = \"htp://:hunter2@host\"", [("A", "")]),
        ("[store.redis]\nurl = 5\nhunter2 = 1", [("STREAMGAUGE_STORE__REDIS__URL", "[\"hunter2\"]")]),
        ("[store]\nredis = \"redis://:hunter2@host\"", [("A", "")]),
        ("store = \"hunter2\"", [("A", "")]),
        ("[query]\ntoken = [\"hunter2\"]", [("A", "")]),
        ("[query]\ntoken = \"hunter2 hunter2\"", [("A", "")]),
        ("[log.kafka.properties]\n\"sasl.password\" = [\"hunter2\"]", [("A", "")]),
        ("", [("STREAMGAUGE_LOG__KAFKA__PROPERTIES__ACKS", "hunter2")]),
        ("", [("STREAMGAUGE_QUERY__TOKENS", "hunter2")]),
        ("[[sites]]\nname = \"a\"\nwrite_keys = [\"hunter2 b\"]", [("A", "")]),
        ("[[sites]]\nname = \"a\"\nwrite_keys = \"hunter2\"", [("A", "")]),
        ("[[sites]]\nname = \"a\"\nwrite_keys = [7, \"hunter2\"]", [("A", "")]),
        ("sites = \"hunter2\"", [("A", "")]),
        ("", [("STREAMGAUGE_SITES", "[{ name = \"a\", write_keys = [\"hunter2\", \"hunter2\"] }]")]),
        ("", [("STREAMGAUGE_SITES", "hunter2")]),
    ] {
        let error = Config::parse(text, "c.toml", env(&pairs)).unwrap_err();
        let told = format!("{error} {error:?}").replace(".hunter2`", "");
        assert!(!told.contains("hunter2"), "{told}");
    }
    let pairs = [
        ("STREAMGAUGE_STORE__REDIS__URL", "redis://:hunter2@host"),
        ("STREAMGAUGE_QUERY__TOKEN", "hunter2"),
        ("STREAMGAUGE_LOG__KAFKA__PROPERTIES__SASL_PASSWORD", "hunter2"),
    ];
    let config = Config::load(None, env(&pairs)).unwrap();
    assert_eq!(config.log.kafka.properties["sasl.password"], "hunter2");
    assert!(!format!("{config:?}").contains("hunter2"));
}

#[test]
fn a_token_of_digits_needs_no_quotes_in_the_environment() {
    let pairs = [("STREAMGAUGE_QUERY__TOKEN", "12345"), ("STREAMGAUGE_INGEST__OPEN", "true")];
    let config = Config::load(None, env(&pairs)).unwrap();
    assert!(config.query.token.is_some() && config.ingest.open);
}

#[test]
fn a_refused_property_is_placed() {
    let error = refused("[log.kafka.properties]\n\"client.rack\" = \"a\"\n\"enable.auto.commit\" = \"true\"", &[]);
    assert!(error.starts_with("c.toml:3:1: log.kafka.properties.\"enable.auto.commit\": it is always off"), "{error}");
}
