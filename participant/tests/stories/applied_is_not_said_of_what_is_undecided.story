# A participant that has not heard of the commit cannot say that it is applied
shard 2
txn t1: 1 alice =1; 2 bob =1

> prepare t1 #1 from c1
+ 1 Prepare t1 #1 at @0: bob
> durable
< c1: t1 #1 yes at @0
# Its coordinator knows that it is committed: the home has said so.
> await t1 from c2
> commit t1 #1 at @0
+ 2 Commit t1 #1 at @0
> durable
< flush io1: bob = 1 @1
< tell 1: acknowledge t1 by 2
> await t1 from c2
> flushed io1
< c2: t1 applied
< c2: t1 applied
