//! Every type of the data model, in keys and in columns.

use handfast_cassandra_tests::{options, store};
use participant::store::TableStore;
use participant::store::cassandra::Cluster;
use wal_core::value::{ColumnType, Value};
use wal_core::{Row, RowMutation, Timestamp};

use super::{Scene, cell, table};

/// Values of each type as people write them in CQL, and the same for Handfast: the least, the greatest,
/// and something awkward.
fn texts(ty: ColumnType) -> &'static [&'static str] {
    match ty {
        ColumnType::Ascii => &["'a'", "'it''s'"],
        ColumnType::BigInt => &["-9223372036854775808", "9223372036854775807"],
        ColumnType::Blob => &["0x00", "0xfffe"],
        ColumnType::Boolean => &["true", "false"],
        ColumnType::Decimal => &["-0.1", "123456789012345678901234567890.5", "1E+3"],
        ColumnType::Double => &["-0.25", "1.7E308"],
        ColumnType::Float => &["-0.25", "3.4E38"],
        ColumnType::Int => &["-2147483648", "2147483647"],
        ColumnType::Timestamp => &["'2026-02-28 23:59:59.999Z'", "'1969-12-31 00:00:00Z'"],
        ColumnType::Uuid => &["00000000-0000-0000-0000-000000000001"],
        ColumnType::Text => &["'é 語'", "'a b'"],
        ColumnType::Varint => &["-129", "170141183460469231731687303715884105728"],
        ColumnType::TimeUuid => &["d2177dd0-eaa2-11de-a572-001b779c76e3"],
        ColumnType::Inet => &["'127.0.0.1'", "'2001:db8::1'"],
        ColumnType::Date => &["'2026-02-28'", "'1583-01-01'"],
        ColumnType::Time => &["'00:00:00'", "'23:59:59.999999999'"],
        ColumnType::SmallInt => &["-32768", "32767"],
        ColumnType::TinyInt => &["-128", "127"],
    }
}

/// One table for each type: that type is partition key, clustering column and value. Rows that the plain
/// client writes are read here, equal byte for byte to what is written here, and the other way round.
pub(crate) fn every_type_goes_and_comes(scene: &Scene<'_>) {
    scene.cql.keyspace("types", 1);
    let cluster = Cluster::connect(&options(scene.stack)).expect("nodes");
    let tables: Vec<_> = (0..)
        .zip(ColumnType::ALL)
        .map(|(n, ty)| {
            let columns = format!("p {ty}, q {ty}, c {ty}, v {ty}, w {ty}");
            table(n, &format!("CREATE TABLE t_{ty} ({columns}, PRIMARY KEY ((p, q), c))"))
        })
        .collect();
    let store = store(&cluster, "types", &tables);
    for (table, ty) in tables.iter().zip(ColumnType::ALL) {
        for text in texts(*ty) {
            let name = table.name();
            scene.cql.run(&format!(
                "INSERT INTO types.{name} (p, q, c, v) VALUES ({text}, {text}, {text}, {text}) \
                 USING TIMESTAMP 7"
            ));
            // What the server made of the text, byte for byte.
            let bytes_of = |column: &str| {
                let term = match ty {
                    ColumnType::Blob => column.to_owned(),
                    _ => format!("{ty}AsBlob({column})"),
                };
                let query = format!(
                    "SELECT {term} FROM types.{name} WHERE p = {text} AND q = {text} AND c = {text}"
                );
                scene.cql.rows::<(Vec<u8>,)>(&query).remove(0).0
            };
            let bytes = bytes_of("v");
            let value = Value::decode(*ty, &bytes).expect("a value of the type");
            let mut encoded = Vec::new();
            value.encode_as(*ty, &mut encoded).expect("its own type");
            assert_eq!(encoded, bytes, "{ty} {text}");

            let key = table.row_key(&[&value, &value], &[&value]).expect("a key");
            let row = store.read(std::slice::from_ref(&key)).expect("a read").remove(0);
            let written = cell(3, 7, Some(value.clone()));
            let mut expected =
                Row { cells: vec![written], marker_at: Some(Timestamp(7)), ..Row::default() };
            assert_eq!(row, expected.shown(), "{ty} {text}");

            let delta = Row { cells: vec![cell(4, 9, Some(value))], ..Row::default() };
            expected.merge(&delta);
            store.apply(&[RowMutation { key: key.clone(), delta }]).expect("an apply");
            let row = store.read(std::slice::from_ref(&key)).expect("a read").remove(0);
            assert_eq!(row, expected.shown(), "{ty} {text}");
            assert_eq!(bytes_of("w"), bytes, "{ty} {text}");
        }
    }
}
