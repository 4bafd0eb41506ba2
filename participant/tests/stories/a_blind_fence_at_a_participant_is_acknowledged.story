# A participant closed by its id alone learns its home from the home, and acknowledges
shard 2
txn t1: 1 alice =1; 2 bob =1

> fence t1 from c1
+ 1 Close t1: fenced
> durable
< c1: t1 known: closed: fenced
# The home closed too, and asks until it is acknowledged.
> closed t1: fenced
< tell 1: acknowledge t1 by 2
> durable
> finished t1
