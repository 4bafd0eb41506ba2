# An add that leaves the range of its column closes the transaction
shard 1
txn t1: 1 alice +9223372036854775807
store alice = 1 @-80

> single t1 from c1
< read io1: alice
> rows io1
+ 1 Close t1 of 1: overflow on alice
> durable
< c1: t1 closed: overflow on alice
