//! URLs as an administrator writes them.

use super::*;
use crate::model::{Tenant, TenantName};

fn environment(variables: &[(&str, &str)]) -> Environment {
    Environment {
        variables: variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
        home: Some("/home/ann".into()),
        user: Some("ann".to_owned()),
    }
}

fn parse(url: &str) -> DatabaseUrl {
    DatabaseUrl::parse(url, &environment(&[])).unwrap()
}

fn tcp(name: &str, port: u16) -> Place {
    Place { host: Host::Tcp { name: name.to_owned(), address: None }, port }
}

fn socket(folder: &str, port: u16) -> Place {
    Place { host: Host::Socket(folder.into()), port }
}

#[test]
fn hosts_are_found_where_libpq_finds_them() {
    for (url, want) in [
        ("postgresql:///x", vec![socket("/var/run/postgresql", 5432)]),
        ("postgres://", vec![socket("/var/run/postgresql", 5432)]),
        ("postgresql:///x?host=/run/a&port=5433", vec![socket("/run/a", 5433)]),
        ("postgresql://%2Frun%2Fa:5433/x", vec![socket("/run/a", 5433)]),
        ("postgresql://[::1]:5433/x", vec![tcp("::1", 5433)]),
        ("postgresql://a:1,b,c:3/x", vec![tcp("a", 1), tcp("b", 5432), tcp("c", 3)]),
        ("postgresql://a,b/x?port=7", vec![tcp("a", 7), tcp("b", 7)]),
        ("postgresql://u:p@h/x", vec![tcp("h", 5432)]),
    ] {
        assert_eq!(parse(url).places, want, "{url}");
    }
    let named = parse("postgresql://db.example/x?hostaddr=127.0.0.1");
    let address = Some("127.0.0.1".parse().unwrap());
    assert_eq!(named.places, [Place { host: Host::Tcp { name: "db.example".into(), address }, port: 5432 }]);
}

#[test]
fn a_server_is_all_its_hosts_and_databases_there_are_beside_each_other() {
    for (url, want) in [
        ("postgresql:///x", "/var/run/postgresql:5432"),
        ("postgresql://u:p@[::1]:5433/x", "[::1]:5433"),
        ("postgresql://a:1,b/x", "a:1,b:5432"),
        ("postgresql://db.example/x?hostaddr=127.0.0.1", "db.example:5432"),
    ] {
        assert_eq!(parse(url).server(), want);
    }
    let one = parse("postgresql://u@a,b/x");
    assert!(one.is_beside(&parse("postgresql://v@a,b/y?sslmode=disable")));
    for other in ["postgresql://a/x", "postgresql://b,a/x", "postgresql://a,b:5433/x"] {
        assert!(!one.is_beside(&parse(other)), "{other}");
    }
}

#[test]
fn what_a_url_leaves_open_comes_from_the_environment_and_then_from_defaults() {
    let set = environment(&[
        ("PGHOST", "db1"),
        ("PGPORT", "5433"),
        ("PGUSER", "bob"),
        ("PGPASSWORD", "secret"),
        ("PGDATABASE", "main"),
        ("PGPASSFILE", "/etc/pass"),
        ("PGSSLMODE", "verify-full"),
        ("PGCONNECT_TIMEOUT", "5"),
    ]);
    let url = DatabaseUrl::parse("postgresql://", &set).unwrap();
    assert_eq!(url.places, [tcp("db1", 5433)]);
    assert_eq!((url.user.as_str(), url.dbname.as_str(), url.password.as_deref()), ("bob", "main", Some("secret")));
    assert_eq!((url.passfile, url.tls.mode), (Some("/etc/pass".into()), TlsMode::VerifyFull));
    assert_eq!(url.connect_timeout, Some(Duration::from_secs(5)));
    let url = DatabaseUrl::parse("postgresql://eve:x@h:1/d?sslmode=disable&connect_timeout=0", &set).unwrap();
    assert_eq!((url.user.as_str(), url.dbname.as_str(), url.password.as_deref()), ("eve", "d", Some("x")));
    assert_eq!((url.tls.mode, url.connect_timeout), (TlsMode::Disable, None));

    let url = parse("postgresql://");
    assert_eq!((url.user.as_str(), url.dbname.as_str(), url.password.as_deref()), ("ann", "ann", None));
    assert_eq!((url.application_name.as_str(), url.tls.mode), ("tenantcron", TlsMode::Prefer));
    assert_eq!(url.tls.root, Root::File("/home/ann/.postgresql/root.crt".into()));
    assert_eq!(url.passfile, Some("/home/ann/.pgpass".into()));
    assert_eq!(url.keepalive, Some(Keepalive { idle: 30, interval: 10, count: 3 }));
    assert_eq!(parse("postgresql:///x?keepalives=0").keepalive, None);
}

#[test]
fn a_url_is_shown_without_its_password() {
    for (url, want) in [
        ("postgresql://u:geheim@h/x?sslmode=require", "postgresql://u@h/x?sslmode=require"),
        ("postgresql://h/x?user=u&password=geheim", "postgresql://h/x?user=u"),
        ("postgresql://u:ge@heim@h", "postgresql://u@h"),
    ] {
        let url = parse(url);
        assert_eq!((url.to_string(), format!("{url:?}")), (want.to_owned(), want.to_owned()));
    }
    // not escaped, as people write it: it cannot be used, and is not shown all the same
    for bad in ["u:geheim/x@h/d", "u:ge/geheim?x@h/d", "u:x?geheim@h/d", "u:x?geheim=y@h/d", "u:?#geheim=y@h"] {
        let error = DatabaseUrl::parse(&format!("postgresql://{bad}"), &environment(&[])).unwrap_err();
        assert!(!format!("{error} {error:?}").contains("geheim"), "{bad}: {error}");
    }
    let error = DatabaseUrl::parse("postgresql://u:geheim@h/x?sslmode=sometimes", &environment(&[])).unwrap_err();
    assert!(!format!("{error} {error:?}").contains("geheim"), "{error}");
    assert!(error.to_string().contains("`sslmode` cannot be `sometimes`"), "{error}");
}

#[test]
fn mistakes_are_named() {
    for (url, want) in [
        ("mysql://h/x", "must begin with postgresql://"),
        ("host=h", "must begin with postgresql://"),
        ("postgresql://h:http/x", "the port is not a number"),
        ("postgresql://h/x?colour=red", "unknown parameter `colour`"),
        ("postgresql://h/x?service=a", "`service` is not supported"),
        ("postgresql://a,b/x?hostaddr=1.2.3.4", "do not match"),
        ("postgresql://h/x?hostaddr=h", "not an address"),
        ("postgresql://h/x?connect_timeout=soon", "must be a number"),
        ("postgresql://h/%ff", "`dbname` is not UTF-8"),
        ("postgresql://h/x?sslrootcert=system&sslmode=require", "needs sslmode=verify-full"),
    ] {
        let error = DatabaseUrl::parse(url, &environment(&[])).unwrap_err();
        assert!(error.to_string().contains(want), "{url}: {error}");
    }
}

#[test]
fn a_tenants_url_holds_its_values_percent_encoded() {
    let template =
        Template::parse("postgresql://h/{database}?options=-c%20a%3D{tenant_}", &["database", "tenant_"]).unwrap();
    let tenant = Tenant::new(TenantName::parse("a-b.example").unwrap(), Some("d b?x=%2F&ü".into()), None).unwrap();
    let url = render(&template, Values { tenant: &tenant, instance: "wcs", run_id: None });
    assert_eq!(url, "postgresql://h/d%20b%3Fx%3D%252F%26%C3%BC?options=-c%20a%3Da_b_example");
    let url = parse(&url);
    assert_eq!((url.dbname.as_str(), url.options.as_deref()), ("d b?x=%2F&ü", Some("-c a=a_b_example")));
}
