use std::cmp::Ordering;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use num_bigint::BigInt;
use proptest::prelude::*;
use serde_json::json;

use super::binary::NANOS_PER_DAY;
use super::*;

/// Any value of any type.
pub(crate) fn any_value() -> impl Strategy<Value = Value> {
    proptest::sample::select(ColumnType::ALL).prop_flat_map(value_of)
}

/// Any value of one type.
pub(crate) fn value_of(ty: ColumnType) -> BoxedStrategy<Value> {
    let big = proptest::collection::vec(any::<u8>(), 1..24);
    let big = big.prop_map(|bytes| BigInt::from_signed_bytes_be(&bytes));
    match ty {
        ColumnType::Ascii => "[ -~]{0,20}".prop_map(Value::Ascii).boxed(),
        ColumnType::Text => any::<String>().prop_map(Value::Text).boxed(),
        ColumnType::Blob => any::<Vec<u8>>().prop_map(|bytes| Value::Blob(bytes.into())).boxed(),
        ColumnType::Boolean => any::<bool>().prop_map(Value::Boolean).boxed(),
        ColumnType::TinyInt => any::<i8>().prop_map(Value::TinyInt).boxed(),
        ColumnType::SmallInt => any::<i16>().prop_map(Value::SmallInt).boxed(),
        ColumnType::Int => any::<i32>().prop_map(Value::Int).boxed(),
        ColumnType::BigInt => any::<i64>().prop_map(Value::BigInt).boxed(),
        ColumnType::Float => {
            any::<u32>().prop_map(|bits| Value::Float(f32::from_bits(bits))).boxed()
        }
        ColumnType::Double => {
            any::<u64>().prop_map(|bits| Value::Double(f64::from_bits(bits))).boxed()
        }
        ColumnType::Timestamp => any::<i64>().prop_map(Value::Timestamp).boxed(),
        ColumnType::Date => any::<i32>().prop_map(Value::Date).boxed(),
        ColumnType::Time => (0..NANOS_PER_DAY).prop_map(Value::Time).boxed(),
        ColumnType::Uuid => any::<u128>().prop_map(|n| Value::Uuid(Uuid::from_u128(n))).boxed(),
        ColumnType::TimeUuid => any::<u128>()
            .prop_map(|n| Value::TimeUuid(Uuid::from_u128(n & !(0xf << 76) | 1 << 76)))
            .boxed(),
        ColumnType::Inet => prop_oneof![
            any::<u32>().prop_map(|n| Value::Inet(IpAddr::V4(Ipv4Addr::from(n)))),
            any::<u128>().prop_map(|n| Value::Inet(IpAddr::V6(Ipv6Addr::from(n)))),
        ]
        .boxed(),
        ColumnType::Varint => big.prop_map(Value::Varint).boxed(),
        ColumnType::Decimal => (big, prop_oneof![-40i32..40, any::<i32>()])
            .prop_map(|(digits, scale)| Value::Decimal(Decimal::new(digits, scale)))
            .boxed(),
    }
}

/// Three values of one type, often near to each other.
fn three() -> impl Strategy<Value = (ColumnType, Value, Value, Value)> {
    proptest::sample::select(ColumnType::ALL)
        .prop_flat_map(|ty| (Just(ty), value_of(ty), value_of(ty), value_of(ty)))
}

proptest! {
    #[test]
    fn a_value_is_encoded_and_read_back(value in any_value()) {
        let ty = value.column_type();
        let bytes = value.encode();
        prop_assert_eq!(Value::validate(ty, &bytes), Ok(()));
        prop_assert_eq!(Value::decode(ty, &bytes), Ok(value.clone()));
        let mut same = Vec::new();
        prop_assert!(value.encode_as(ty, &mut same).is_ok());
        prop_assert_eq!(same, bytes);
    }

    #[test]
    fn a_value_goes_through_json_and_its_text(value in any_value()) {
        let json = value.to_json();
        let text = serde_json::to_string(&json).expect("JSON prints");
        let reread: serde_json::Value = serde_json::from_str(&text).expect("JSON parses");
        prop_assert_eq!(Value::from_json(value.column_type(), &reread), Ok(value));
    }

    #[test]
    fn any_bytes_are_judged_without_panic(
        ty in proptest::sample::select(ColumnType::ALL),
        a in proptest::collection::vec(any::<u8>(), 0..18),
        b in proptest::collection::vec(any::<u8>(), 0..18),
    ) {
        let valid = Value::validate(ty, &a).is_ok();
        let decoded = Value::decode(ty, &a);
        prop_assert!(!valid || decoded.is_ok());
        if let (true, Ok(value)) = (valid && ty != ColumnType::Boolean, decoded) {
            prop_assert_eq!(value.encode(), a.clone());
        }
        prop_assert_eq!(compare(ty, &a, &b), compare(ty, &b, &a).reverse());
        prop_assert_eq!(compare(ty, &a, &a), Ordering::Equal);
        let _ = add(ty, Some(&a), &b);
    }

    #[test]
    fn the_order_is_total((ty, a, b, c) in three()) {
        let (a, b, c) = (a.encode(), b.encode(), c.encode());
        prop_assert_eq!(compare(ty, &a, &b), compare(ty, &b, &a).reverse());
        let mut sorted = [a, b, c];
        sorted.sort_by(|a, b| compare(ty, a, b));
        prop_assert!(compare(ty, &sorted[0], &sorted[2]) != Ordering::Greater);
    }

    #[test]
    fn whole_numbers_order_and_add_as_numbers(a: i64, b: i64) {
        let pairs = [
            (ColumnType::BigInt, Value::BigInt(a), Value::BigInt(b)),
            (ColumnType::Varint, Value::Varint(a.into()), Value::Varint(b.into())),
            (
                ColumnType::Decimal,
                Value::Decimal(Decimal::new(a.into(), 3)),
                Value::Decimal(Decimal::new(b.into(), 3)),
            ),
        ];
        for (ty, left, right) in pairs {
            let (left, right) = (left.encode(), right.encode());
            prop_assert_eq!(compare(ty, &left, &right), a.cmp(&b));
            match (ty, a.checked_add(b)) {
                (ColumnType::BigInt, None) => {
                    prop_assert_eq!(add(ty, Some(&left), &right), Err(AddError::Overflow));
                }
                (_, _) => {
                    let sum = Value::decode(ty, &add(ty, Some(&left), &right).expect("fits"));
                    let expected = i128::from(a) + i128::from(b);
                    let found = match sum.expect("a number") {
                        Value::BigInt(sum) => i128::from(sum),
                        Value::Varint(sum) => sum.try_into().expect("fits"),
                        Value::Decimal(sum) => sum.unscaled().try_into().expect("fits"),
                        other => panic!("{other}"),
                    };
                    prop_assert_eq!(found, expected);
                }
            }
        }
    }

    #[test]
    fn decimals_order_by_value(a: i32, b: i32, scale_a in -6i32..6, scale_b in -6i32..6) {
        let left = Decimal::new(a.into(), scale_a);
        let right = Decimal::new(b.into(), scale_b);
        let at_scale = |digits: i32, scale: i32| {
            i128::from(digits) * 10i128.pow(u32::try_from(6 - scale).expect("not negative"))
        };
        let expected = at_scale(a, scale_a).cmp(&at_scale(b, scale_b));
        prop_assert_eq!(left.compare(&right), expected);
        prop_assert_eq!(left.canonical() == right.canonical(), expected == Ordering::Equal);
        prop_assert_eq!(left.canonical().compare(&left), Ordering::Equal);
    }

    #[test]
    fn floats_order_as_numbers(a: f64, b: f64) {
        let order = compare(ColumnType::Double, &a.to_be_bytes(), &b.to_be_bytes());
        prop_assert_eq!(order, a.total_cmp(&b));
    }
}

/// The binary form of one value of each type, as drivers of Cassandra send it. The numbers of the
/// types and these bytes may never change: they are in logs.
#[test]
fn the_binary_form_is_pinned() {
    let uuid = Uuid::parse_str("5132b130-ae79-11e4-ab27-0800200c9a66").expect("a UUID");
    let cases: Vec<(u8, Value, Vec<u8>)> = vec![
        (0x01, Value::Ascii("ab".into()), vec![0x61, 0x62]),
        (0x02, Value::BigInt(-2), vec![255, 255, 255, 255, 255, 255, 255, 254]),
        (0x03, Value::Blob(Bytes::from_static(&[1, 2])), vec![1, 2]),
        (0x04, Value::Boolean(true), vec![1]),
        (0x06, Value::Decimal(Decimal::new(BigInt::from(-150), 2)), vec![0, 0, 0, 2, 0xff, 0x6a]),
        (0x07, Value::Double(1.5), vec![0x3f, 0xf8, 0, 0, 0, 0, 0, 0]),
        (0x08, Value::Float(1.5), vec![0x3f, 0xc0, 0, 0]),
        (0x09, Value::Int(258), vec![0, 0, 1, 2]),
        (0x0b, Value::Timestamp(1), vec![0, 0, 0, 0, 0, 0, 0, 1]),
        (0x0c, Value::Uuid(uuid), uuid.as_bytes().to_vec()),
        (0x0d, Value::Text("ü".into()), vec![0xc3, 0xbc]),
        (0x0e, Value::Varint(BigInt::from(128)), vec![0, 0x80]),
        (0x0f, Value::TimeUuid(uuid), uuid.as_bytes().to_vec()),
        (0x10, Value::Inet("192.0.2.1".parse().expect("an address")), vec![192, 0, 2, 1]),
        (0x11, Value::Date(0), vec![0x80, 0, 0, 0]),
        (0x12, Value::Time(1), vec![0, 0, 0, 0, 0, 0, 0, 1]),
        (0x13, Value::SmallInt(-1), vec![255, 255]),
        (0x14, Value::TinyInt(-1), vec![255]),
    ];
    assert_eq!(cases.len(), ColumnType::ALL.len());
    for (number, value, bytes) in cases {
        assert_eq!(value.column_type().number(), number, "{value}");
        assert_eq!(ColumnType::from_number(number), Some(value.column_type()));
        assert_eq!(ColumnType::from_name(value.column_type().name()), Some(value.column_type()));
        assert_eq!(value.encode(), bytes, "{value}");
    }
}

#[test]
fn bytes_of_another_type_are_refused() {
    let cases: &[(ColumnType, &[u8])] = &[
        (ColumnType::Int, &[0, 0, 1]),
        (ColumnType::Int, &[]),
        (ColumnType::Text, &[0xff]),
        (ColumnType::Ascii, "ü".as_bytes()),
        (ColumnType::Time, &86_400_000_000_000i64.to_be_bytes()),
        (ColumnType::TimeUuid, &[0; 16]),
        (ColumnType::Inet, &[0; 5]),
        (ColumnType::Varint, &[]),
        (ColumnType::Varint, &[0, 1]),
        (ColumnType::Varint, &[0xff, 0xff]),
        (ColumnType::Decimal, &[0, 0, 0, 0]),
        (ColumnType::Decimal, &[0, 0, 0, 0, 0, 0]),
    ];
    for (ty, bytes) in cases {
        assert!(Value::validate(*ty, bytes).is_err(), "{ty} {bytes:?}");
    }
    let most = vec![1; MAX_NUMBER_BYTES];
    assert_eq!(Value::validate(ColumnType::Varint, &most), Ok(()));
    let longer = vec![1; MAX_NUMBER_BYTES + 1];
    assert!(Value::validate(ColumnType::Varint, &longer).is_err());
    assert!(Value::decode(ColumnType::Varint, &longer).is_ok());
    let error = Value::validate(ColumnType::Int, &[1]).expect_err("too short");
    assert_eq!(error.to_string(), "these bytes are no int: it has four bytes");
}

#[test]
fn each_type_has_its_own_order() {
    let uuid = |text: &str| Uuid::parse_str(text).expect(text).as_bytes().to_vec();
    let float = |value: f32| value.to_be_bytes().to_vec();
    let int = |value: i32| value.to_be_bytes().to_vec();
    let groups: Vec<(ColumnType, Vec<Vec<u8>>)> = vec![
        (ColumnType::Int, vec![vec![], int(i32::MIN), int(-1), int(0), int(i32::MAX)]),
        (
            ColumnType::Float,
            [f32::NEG_INFINITY, -1.0, -0.0, 0.0, 1e-45, 1.0, f32::INFINITY, f32::NAN]
                .map(float)
                .into(),
        ),
        (ColumnType::Varint, vec![vec![0x80, 0], vec![0x80], vec![0xff], vec![0], vec![0, 0x80]]),
        // The first four of version 1, ordered by time though their bytes are not; then version 4.
        (
            ColumnType::Uuid,
            vec![
                uuid("ffffffff-0000-1000-8000-000000000000"),
                uuid("00000000-0001-1000-8000-000000000000"),
                uuid("00000000-0000-1001-8000-000000000000"),
                uuid("00000000-0000-1001-8000-000000000001"),
                uuid("00000000-0000-4000-8000-000000000000"),
                uuid("10000000-0000-4000-8000-000000000000"),
            ],
        ),
        // At equal times the rest is compared as signed bytes.
        (
            ColumnType::TimeUuid,
            vec![
                uuid("ffffffff-0000-1000-8000-000000000000"),
                uuid("00000000-0001-1000-8000-000000000000"),
                uuid("00000000-0001-1000-bfff-ffffffffffff"),
                uuid("00000000-0001-1000-bfff-00ffffffffff"),
            ],
        ),
        (ColumnType::Date, [-1, 0, 1].map(|day| Value::Date(day).encode().to_vec()).into()),
        (ColumnType::Inet, vec![vec![10, 0, 0, 1], vec![192, 0, 2, 1]]),
    ];
    for (ty, sorted) in groups {
        for pair in sorted.windows(2) {
            assert_eq!(compare(ty, &pair[0], &pair[1]), Ordering::Less, "{ty} {pair:x?}");
        }
    }
    let quiet = (-f32::NAN).to_be_bytes();
    assert_eq!(compare(ColumnType::Float, &quiet, &f32::NAN.to_be_bytes()), Ordering::Equal);
}

#[test]
fn adding_stays_within_the_type() {
    let bytes = |value: Value| value.encode();
    assert_eq!(add(ColumnType::Int, None, &bytes(Value::Int(-5))), Ok(bytes(Value::Int(-5))));
    let max = bytes(Value::TinyInt(127));
    assert_eq!(
        add(ColumnType::TinyInt, Some(&max), &bytes(Value::TinyInt(1))),
        Err(AddError::Overflow)
    );
    let large = bytes(Value::Double(f64::MAX));
    assert_eq!(add(ColumnType::Double, Some(&large), &large), Err(AddError::Overflow));
    let nan = bytes(Value::Float(f32::NAN));
    assert_eq!(add(ColumnType::Float, None, &nan), Err(AddError::Overflow));
    assert_eq!(add(ColumnType::Text, None, b"x"), Err(AddError::NotANumber(ColumnType::Text)));
    assert!(matches!(
        add(ColumnType::Int, Some(b"x"), &bytes(Value::Int(1))),
        Err(AddError::Malformed(_))
    ));
    let wide = bytes(Value::Decimal("1e100000".parse().expect("a decimal")));
    let fine = bytes(Value::Decimal("1e-100000".parse().expect("a decimal")));
    assert_eq!(add(ColumnType::Decimal, Some(&wide), &fine), Err(AddError::Overflow));
    let huge = bytes(Value::Varint((BigInt::from(1) << (MAX_NUMBER_BYTES * 8 - 1)) - 1));
    assert!(add(ColumnType::Varint, None, &huge).is_ok());
    assert_eq!(
        add(ColumnType::Varint, Some(&huge), &bytes(Value::Varint(1.into()))),
        Err(AddError::Overflow)
    );
    let half = bytes(Value::Decimal("0.50".parse().expect("a decimal")));
    let sum = add(ColumnType::Decimal, Some(&half), &half).expect("fits");
    assert_eq!(Value::decode(ColumnType::Decimal, &sum).expect("a decimal").to_string(), "1.00");
}

#[test]
fn json_is_read_as_insert_json_reads_it() {
    let good = [
        (ColumnType::Int, json!("12"), "12"),
        (ColumnType::Boolean, json!("true"), "true"),
        (ColumnType::Decimal, json!(1.5), "1.5"),
        (ColumnType::Decimal, json!("0.10"), "0.10"),
        (ColumnType::Varint, json!(u64::MAX), "18446744073709551615"),
        (ColumnType::Double, json!(3), "3.0"),
        (ColumnType::Double, json!("NaN"), "NaN"),
        (ColumnType::Float, json!("-Infinity"), "-Infinity"),
        (ColumnType::Blob, json!("0xCAfe"), "0xcafe"),
        (ColumnType::Text, json!("it's"), "'it''s'"),
        (ColumnType::Inet, json!("2001:db8::1"), "'2001:db8::1'"),
        (ColumnType::Timestamp, json!("2026-01-31 12:00:00"), "'2026-01-31T12:00:00.000Z'"),
        (ColumnType::Timestamp, json!(0), "'1970-01-01T00:00:00.000Z'"),
        (ColumnType::Date, json!("2026-01-31"), "'2026-01-31'"),
        (ColumnType::Time, json!("23:59:59.5"), "'23:59:59.500000000'"),
    ];
    for (ty, json, literal) in good {
        let value = Value::from_json(ty, &json).unwrap_or_else(|error| panic!("{json}: {error}"));
        assert_eq!((value.column_type(), value.to_string().as_str()), (ty, literal));
    }
}

#[test]
fn json_of_another_type_is_refused_with_what_to_write() {
    let bad = [
        (ColumnType::Int, json!(2_147_483_648i64)),
        (ColumnType::Int, json!(1.5)),
        (ColumnType::TinyInt, json!("")),
        (ColumnType::BigInt, json!(u64::MAX)),
        (ColumnType::Boolean, json!(1)),
        (ColumnType::Text, json!(7)),
        (ColumnType::Ascii, json!("ü")),
        (ColumnType::Blob, json!("cafe")),
        (ColumnType::Blob, json!("0xcaf")),
        (ColumnType::Varint, json!(1e30)),
        (ColumnType::Varint, json!("1_0")),
        (ColumnType::Varint, json!("1".repeat(MAX_NUMBER_DIGITS + 1))),
        (ColumnType::Decimal, json!("1".repeat(MAX_NUMBER_DIGITS + 1))),
        (ColumnType::Decimal, json!(0.123_456_789_012_345_68)),
        (ColumnType::Float, json!(1e39)),
        (ColumnType::Float, json!("1e39")),
        (ColumnType::Double, json!("inf")),
        (ColumnType::Uuid, json!("5132b130ae7911e4ab270800200c9a66")),
        (ColumnType::TimeUuid, json!("00000000-0000-4000-8000-000000000000")),
        (ColumnType::Inet, json!("300.0.0.1")),
        (ColumnType::Date, json!(19_000)),
        (ColumnType::Time, json!("24:00:00")),
        (ColumnType::Timestamp, json!("now")),
        (ColumnType::Int, json!(null)),
        (ColumnType::Text, json!(["a"])),
    ];
    for (ty, json) in bad {
        assert!(Value::from_json(ty, &json).is_err(), "{ty} {json}");
    }
    let error = Value::from_json(ColumnType::Boolean, &json!(1)).expect_err("a number");
    assert_eq!(error.to_string(), "expected boolean: write true or false; got 1");
}

#[test]
fn a_value_goes_into_a_column_of_another_type_only_if_nothing_is_lost() {
    let uuid4 = Value::Uuid(Uuid::from_u128(4 << 76));
    let good = [
        (Value::Int(7), Value::BigInt(7)),
        (Value::BigInt(7), Value::TinyInt(7)),
        (Value::Int(7), Value::Varint(7.into())),
        (Value::Int(7), Value::Decimal(Decimal::new(7.into(), 0))),
        (Value::Float(0.5), Value::Double(0.5)),
        (Value::Text("a".into()), Value::Ascii("a".into())),
    ];
    for (value, expected) in good {
        let mut out = Vec::new();
        value.encode_as(expected.column_type(), &mut out).expect("fits");
        assert_eq!(out, expected.encode());
    }
    let bad = [
        (Value::Int(128), ColumnType::TinyInt),
        (Value::Int(1), ColumnType::Double),
        (Value::Double(1.0), ColumnType::Float),
        (Value::Text("ü".into()), ColumnType::Ascii),
        (uuid4, ColumnType::TimeUuid),
        (Value::Time(-1), ColumnType::Time),
        (Value::Text("1".into()), ColumnType::Int),
        (Value::Int(0), ColumnType::Timestamp),
        (Value::Varint(BigInt::from(1) << (MAX_NUMBER_BYTES * 8)), ColumnType::Varint),
        (
            Value::Decimal(Decimal::new(BigInt::from(1) << (MAX_NUMBER_BYTES * 8), 0)),
            ColumnType::Decimal,
        ),
    ];
    for (value, ty) in bad {
        let mut out = Vec::new();
        assert!(value.encode_as(ty, &mut out).is_err(), "{:?} {ty}", value.column_type());
        assert!(out.is_empty());
    }
    let error = Value::Text("x".into()).encode_as(ColumnType::Int, &mut Vec::new());
    assert_eq!(error.expect_err("text").to_string(), "expected int, got text");
}
