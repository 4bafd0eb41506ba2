# Who waited for a row when the fence came hears "aborted" only once that is durable
shard 1
txn t1: 1 alice +1
store alice = 4 @-80

> single t1 from c1
> fence t1 from c2
> durable
