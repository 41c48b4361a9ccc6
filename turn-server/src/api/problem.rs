//! Errors over HTTP: RFC 9457 problem bodies with our code.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use signalling::Code;
use signalling::code::Refusal;
use utoipa::ToSchema;

/// An error, as it is sent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Problem {
    /// Where the code is explained.
    #[serde(rename = "type")]
    kind: String,
    /// The code in words.
    title: String,
    /// The HTTP status.
    status: u16,
    /// What happened, for people; not stable.
    detail: String,
    /// What happened, for programs; the same list as in rooms/1.
    code: Code,
    /// When to try again, if that helps.
    #[serde(skip_serializing_if = "is_zero")]
    retry_ms: u64,
}

fn is_zero(value: &u64) -> bool {
    *value == 0
}

impl Problem {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Refusal::new(code, detail).into()
    }

    /// The same with another status, where HTTP has one that says more.
    pub(crate) fn with_status(mut self, status: StatusCode) -> Self {
        self.status = status.as_u16();
        self
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let Refusal { code, message, retry_ms } = refusal;
        Self {
            kind: format!("urn:tern:{code}"),
            title: code.as_str().replace('_', " "),
            status: code.http_status(),
            detail: message,
            code,
            retry_ms,
        }
    }
}

impl From<Code> for Problem {
    fn from(code: Code) -> Self {
        Refusal::from(code).into()
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_s = self.retry_ms.div_ceil(1000);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if retry_s > 0 {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(retry_s));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
