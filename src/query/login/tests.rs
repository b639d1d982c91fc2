use super::*;

const NOW_MS: i64 = 1_760_000_000_000;

fn visit() -> Visit {
    Visit { peer: "10.1.2.3".parse().unwrap(), now_ms: NOW_MS }
}

fn login() -> Login {
    Login::new(Some("s3cret&".to_owned().into()), Arc::new(Metrics::new().unwrap()))
}

fn headers(name: &'static str, value: &str) -> HeaderMap {
    HeaderMap::from_iter([(hyper::header::HeaderName::from_static(name), value.parse().unwrap())])
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> &'a str {
    response.headers()[name].to_str().unwrap()
}

#[test]
fn the_right_token_gives_a_cookie_that_opens_and_does_not_hold_it() {
    let login = login();
    let response = login.log_in(b"token=s3cret%26&next=counter%3Dclicks", &HeaderMap::new(), visit());
    assert_eq!((response.status(), header(&response, "location")), (StatusCode::SEE_OTHER, "/?counter=clicks"));
    let cookie = header(&response, "set-cookie").to_owned();
    assert!(cookie.ends_with("; Path=/; Max-Age=43200; HttpOnly; SameSite=Strict") && !cookie.contains("s3cret"));
    let cookie = cookie.split(';').next().unwrap();
    let sent = headers("cookie", &format!("other=1; {cookie}; last=2"));
    login.admit(&sent, visit()).unwrap();
    assert!(login.admit(&headers("cookie", "streamgauge_session="), visit()).is_err());
    assert!(login.admit(&sent, Visit { now_ms: NOW_MS + SESSION_S * 1_000, ..visit() }).is_err());
    assert!(!login.log_out(&HeaderMap::new()).headers().contains_key("set-cookie"), "another site logs out");
    login.admit(&sent, visit()).unwrap();
    let out = login.log_out(&sent);
    assert!(header(&out, "set-cookie").contains("Max-Age=0") && header(&out, "location") == "/login");
    assert!(login.admit(&sent, visit()).is_err());
}

#[test]
fn by_https_the_cookie_stays_there() {
    let response = login().log_in(b"token=s3cret%26", &headers("x-forwarded-proto", "https"), visit());
    assert!(header(&response, "set-cookie").ends_with("; Secure"));
}

#[test]
fn too_many_wrong_tokens_of_an_address_are_told_to_wait_and_the_right_one_opens() {
    let login = login();
    let try_it = |token: &str| login.log_in(format!("token={token}").as_bytes(), &HeaderMap::new(), visit());
    for _ in 0..20 {
        assert_eq!(try_it("guess").status(), StatusCode::UNAUTHORIZED);
    }
    let response = try_it("guess");
    assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(response.headers().contains_key("retry-after") && !response.headers().contains_key("set-cookie"));
    let wrong = headers("authorization", "Bearer guess");
    assert!(matches!(login.admit(&wrong, visit()), Err(QueryError::TooManyWrongTokens { .. })));
    let elsewhere = Visit { peer: "10.1.2.4".parse().unwrap(), ..visit() };
    let later = Visit { now_ms: NOW_MS + 60_000, ..visit() };
    for fresh in [elsewhere, later] {
        assert!(matches!(login.admit(&wrong, fresh), Err(QueryError::Unauthorized)));
    }
    // A proxy gives all of its readers one address: whoever guesses there locks out nobody.
    login.admit(&headers("authorization", "Bearer s3cret&"), visit()).unwrap();
    let response = try_it("s3cret%26");
    assert_eq!(response.status(), StatusCode::SEE_OTHER);
    let cookie = header(&response, "set-cookie").split(';').next().unwrap().to_owned();
    login.admit(&headers("cookie", &cookie), visit()).unwrap();
    let count = |result| login.metrics.logins_total.with_label_values(&[result]).get();
    assert_eq!((count("accepted"), count("refused"), count("limited")), (1, 22, 2));
}

#[test]
fn what_a_proxy_adds_hides_no_session() {
    let login = login();
    let response = login.log_in(b"token=s3cret%26", &HeaderMap::new(), visit());
    let cookie = header(&response, "set-cookie").split(';').next().unwrap().to_owned();
    for added in ["Basic cHJveHk6cGFzc3dvcmQ=", "Bearer of-the-proxy", "Digest", ""] {
        let mut sent = headers("authorization", added);
        assert!(login.admit(&sent, visit()).is_err(), "{added}");
        sent.insert(COOKIE, cookie.parse().unwrap());
        login.admit(&sent, visit()).unwrap();
    }
    let mut both = headers("authorization", "Basic cHJveHk6cGFzc3dvcmQ=");
    both.append(AUTHORIZATION, "Bearer s3cret&".parse().unwrap());
    login.admit(&both, visit()).unwrap();
}

#[test]
fn a_browser_says_which_site_a_form_is_of() {
    for (site, foreign) in [("same-origin", false), ("none", false), ("same-site", true), ("cross-site", true)] {
        assert_eq!(is_of_another_site(&headers("sec-fetch-site", site)), foreign, "{site}");
    }
    assert!(!is_of_another_site(&HeaderMap::new()), "programs do not say");
}

#[tokio::test]
async fn nobody_is_sent_elsewhere_and_nothing_is_markup() {
    use http_body_util::BodyExt;
    let login = login();
    for next in ["//evil.example", "https://evil.example", "%0d%0aset-cookie:a", "\\\\evil"] {
        let response = login.log_in(format!("token=s3cret%26&next={next}").as_bytes(), &HeaderMap::new(), visit());
        let place = header(&response, "location");
        assert!(place == "/" || place.starts_with("/?"), "{place}");
    }
    let uri = "/login?next=%22%3E%3Cscript%3E".parse().unwrap();
    let page = login.form(&uri).into_body().collect().await.unwrap().to_bytes();
    let page = std::str::from_utf8(&page).unwrap();
    assert!(page.contains("value=\"&quot;&gt;&lt;script&gt;\"") && !page.contains("<script>"), "{page}");
}

#[test]
fn without_a_token_there_is_nothing_to_log_in_to() {
    let open = Login::new(None, Arc::new(Metrics::new().unwrap()));
    open.admit(&HeaderMap::new(), visit()).unwrap();
    assert_eq!(header(&open.form(&"/login".parse().unwrap()), "location"), "/");
}
