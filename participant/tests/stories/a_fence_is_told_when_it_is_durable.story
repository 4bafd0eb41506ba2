# Who waited for a row when the fence came hears "aborted" only once that is durable
shard 1
txn t1: 1 alice +1
store alice = 4 @-80

> single t1 from c1
< read io1: alice
> fence t1 from c2
+ 1 Close t1 of 1: fenced
> durable
< c1: t1 closed: fenced
< c2: t1 known: closed: fenced, of 1
