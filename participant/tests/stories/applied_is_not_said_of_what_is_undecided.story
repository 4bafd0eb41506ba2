# A participant that has not heard of the commit cannot say that it is applied
shard 2
txn t1: 1 alice =1; 2 bob =1

> prepare t1 #1 from c1
> durable
# Its coordinator knows that it is committed: the home has said so.
> await t1 from c2
> commit t1 #1 at @0
> durable
> await t1 from c2
> flushed io1
