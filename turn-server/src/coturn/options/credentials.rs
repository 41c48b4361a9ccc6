//! Who may use the server.

use super::super::values::{text, user};
use super::{Known, flag, ignored, ignored_flag, list, refused, refused_flag, value};

const DATABASE: &str = "users, secrets and peers in a database are not read; write user=name:0xKEY (turnadmin -l lists \
                        the keys) or static-auth-secret lines, and remove this one";
const NO_DATABASE: &str = "there is no database";
const NO_OAUTH: &str = "tokens of RFC 7635 are not supported, and who has one could not use the server";

pub(super) const OPTIONS: &[Known] = &[
    flag("lt-cred-mech", |draft, on| draft.long_term = Some(on)),
    flag("use-auth-secret", |draft, on| draft.use_secret = Some(on)),
    list("static-auth-secret", |draft, line| {
        draft.secrets.push(line.set(text)?);
        Ok(())
    }),
    list("user", |draft, line| {
        draft.users.push(line.set(user)?);
        Ok(())
    }),
    value("realm", |draft, line| {
        draft.realm = Some(line.set(text)?);
        Ok(())
    }),
    value("rest-api-separator", |draft, line| {
        draft.separator = Some(line.set(text)?);
        Ok(())
    }),
    refused_flag("no-auth", "an open relay is not supported: give credentials by static-auth-secret or user"),
    refused_flag("oauth", NO_OAUTH),
    ignored("server-name", "it is for tokens of RFC 7635 only"),
    ignored_flag("check-origin-consistency", "no browser sends ORIGIN, and an allocation is bound to its user"),
    refused("userdb", DATABASE),
    refused("db", DATABASE),
    refused("psql-userdb", DATABASE),
    refused("sql-userdb", DATABASE),
    refused("mysql-userdb", DATABASE),
    refused("mongo-userdb", DATABASE),
    refused("redis-userdb", DATABASE),
    ignored("secret-key-file", "it decrypts passwords in a database, and there is none"),
    ignored("secret-ts-exp-time", "coturn 4 ignores it too"),
    ignored_flag("no-auth-pings", NO_DATABASE),
    ignored_flag("no-dynamic-ip-list", NO_DATABASE),
    ignored_flag("no-dynamic-realms", NO_DATABASE),
];
