//! The contract of all stores, directly and through a transaction-mode pooler.

use super::*;

mod direct {
    use super::*;
    use crate::store::contract::store_contract;

    store_contract!(super::fresh);

    async fn fresh() -> (Tested, ()) {
        (Arc::new(open(&database().await, "sole").await), ())
    }
}

mod pooled {
    use super::*;
    use crate::store::contract::store_contract;

    store_contract!(super::fresh);

    async fn fresh() -> (Tested, ()) {
        (Arc::new(open(&POOLER.through(&database().await), "sole").await), ())
    }
}
