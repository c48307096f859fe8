//! Lists come in pages; commands want rows.

use super::failure::Failure;

/// Rows asked for at once; the server's own maximum.
const PAGE_SIZE: usize = 200;

/// Which page to ask for.
pub(super) struct Page {
    pub(super) size: i32,
    pub(super) token: String,
}

/// Rows, and whether the server has more than were asked for.
pub(super) struct Rows<T> {
    pub(super) rows: Vec<T>,
    pub(super) more: More,
}

/// Whether a list goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum More {
    /// These were the last.
    End,
    /// There are more.
    Left,
}

/// Up to `limit` rows of the pages that `fetch` gives with the token of the next one.
pub(super) async fn collect<T>(
    limit: usize,
    fetch: impl AsyncFn(Page) -> Result<(Vec<T>, String), Failure>,
) -> Result<Rows<T>, Failure> {
    let mut rows = Vec::new();
    let mut token = String::new();
    loop {
        let wanted = (limit - rows.len()).min(PAGE_SIZE);
        let size = i32::try_from(wanted).unwrap_or(i32::MAX);
        let (page, next) = fetch(Page { size, token }).await?;
        rows.extend(page);
        let more = if next.is_empty() && rows.len() <= limit { More::End } else { More::Left };
        if more == More::End || rows.len() >= limit {
            rows.truncate(limit);
            return Ok(Rows { rows, more });
        }
        token = next;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server with the rows 0, 1, … 449.
    async fn fetch(page: Page) -> Result<(Vec<usize>, String), Failure> {
        let start: usize = page.token.parse().unwrap_or(0);
        let end = (start + usize::try_from(page.size).unwrap()).min(450);
        let next = if end == 450 { String::new() } else { end.to_string() };
        std::future::ready(Ok(((start..end).collect(), next))).await
    }

    #[tokio::test]
    async fn pages_are_joined_up_to_the_limit() {
        for (limit, n_rows, more) in
            [(50, 50, More::Left), (250, 250, More::Left), (450, 450, More::End), (9_999, 450, More::End)]
        {
            let rows = collect(limit, fetch).await.unwrap();
            assert_eq!((rows.rows.len(), rows.more), (n_rows, more), "limit {limit}");
        }
    }
}
